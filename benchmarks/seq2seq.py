"""Training and decoding of an encoder-decoder Transformer against torch.nn.Transformer, MarianMT (transformers) and CTranslate2.

    pip install ctranslate2
    OMP_NUM_THREADS=1 python benchmarks/seq2seq.py

All have d_model 256, 3 + 3 layers, 4 heads, feed-forward 1,024, one table of 8,000 tokens for source, target and output, and post-norm.
Training: 64 pairs of 32 tokens without padding (2,048 target tokens), forward, loss with label smoothing 0.1, backward and the same
fused Adam; dropout 0.1 (nn.Transformer also drops attention weights and after the activation). Decoding: 32 sentences of 32 tokens to 32 new
tokens each, greedy and with a beam of 5, by the same random weights everywhere, and what they say is compared first. Weights
are laid out for decoding beforehand, as CTranslate2 does on loading and ``translate`` once for all its batches; with the time it takes
in "stepladder, packing counted". Rounds alternate between all sides in one process. CPU seconds; the minimum counts, since whatever
else the machine does can only add to it. The floor is the matrix products alone, at the speed that oneDNN reaches in the same process.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import torch
import transformers
from ctranslate2.converters.transformers import MarianMTLoader
from sampler_overhead import processor
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.transformer.blocks.linear import packed, product
from stepladder.transformer.inference.decoding import beam_search, greedy
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.training.loss import token_loss
from stepladder.transformer.weights import from_marian

RESULT = Path(__file__).parent / "results" / "seq2seq.json"
V, D, FF, HEADS, LAYERS, LENGTH = 8000, 256, 1024, 4, 3, 32
PAIRS, SENTENCES, BEAM = 64, 32, 5
EOS, PAD = 2, V - 1
ROUNDS = {"training": 5, "greedy": 16, "beam 5": 5}
Run = Callable[[], Any]


@dataclass(frozen=True)
class Side:
    """What is timed, and in which context, itself not timed."""

    run: Run
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


class TorchTransformer(nn.Module):
    """``nn.Transformer`` with what it lacks: embeddings, positions and output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, D, PAD)
        self.register_buffer("positions", torch.randn(LENGTH, D))
        self.transformer = nn.Transformer(D, HEADS, LAYERS, LAYERS, FF, 0.1, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        padding, causal = source == PAD, nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        decoded = self.transformer(
            self.embed(source), self.embed(target), tgt_mask=causal, tgt_is_causal=True, src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )  # fmt: skip
        return F.linear(decoded, self.embedding.weight)

    def embed(self, tokens: Tensor) -> Tensor:
        return F.dropout(self.embedding(tokens) * math.sqrt(D) + self.positions[: tokens.shape[1]], 0.1, self.training)


def marian() -> nn.Module:
    config = transformers.MarianConfig(
        vocab_size=V, d_model=D, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_ffn_dim=FF, decoder_ffn_dim=FF,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, activation_function="relu", dropout=0.1,
        scale_embedding=True, max_position_embeddings=2 * LENGTH, pad_token_id=PAD, bos_token_id=1, eos_token_id=EOS,
        decoder_start_token_id=PAD, forced_eos_token_id=None, init_std=0.06,
    )  # fmt: skip
    return transformers.MarianMTModel(config)


def training() -> dict[str, Side]:
    source, target, wanted = torch.randint(3, PAD, (3, PAIRS, LENGTH)).unbind(0)

    def step(model: nn.Module, loss: Callable[[], Tensor]) -> Side:
        optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-4, fused=True)

        def run() -> None:
            (loss() / wanted.numel()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return Side(run)

    def plain(logits: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD, label_smoothing=0.1, reduction="sum"
        )

    ours, theirs, torchs = (
        Seq2Seq(V, D, FF, HEADS, LAYERS, LAYERS, 0.1, "post", True, PAD),
        marian(),
        TorchTransformer(),
    )
    seen = {"input_ids": source, "attention_mask": source != PAD, "decoder_input_ids": target, "use_cache": False}
    return {
        "stepladder": step(ours, lambda: token_loss(ours, source, target, wanted=wanted, smoothing=0.1)),
        "nn.Transformer": step(torchs, lambda: plain(torchs(source, target))),
        "MarianMT": step(theirs, lambda: plain(theirs(**seen).logits)),
    }


def translator(model: nn.Module, kind: str) -> ctranslate2.Translator:
    """``model`` converted; CTranslate2 has no padding token, which Marian keeps last."""
    spec = MarianMTLoader().get_model_spec(model)
    for register in (spec.register_source_vocabulary, spec.register_target_vocabulary):
        register([str(i) for i in range(PAD)])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "1", str(EOS), "0"
    spec.config.decoder_start_token = str(EOS)
    spec.validate()
    spec.optimize(quantization=None)
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        return ctranslate2.Translator(folder, device="cpu", compute_type=kind, inter_threads=1, intra_threads=1)


def decoding(beams: int) -> dict[str, Side]:
    theirs, source = marian().eval(), torch.randint(3, PAD, (SENTENCES, LENGTH))
    theirs.final_logits_bias[:, [EOS, PAD]] = -1e4  # type: ignore[index, operator]
    ours, words = from_marian(theirs), [[str(i) for i in row] for row in source.tolist()]
    weights = (*ours.decoder.parameters(), ours.output)
    options: dict[str, Any] = {"bos": PAD, "eos": EOS, "max_length": LENGTH}

    def stepladder() -> list[list[int]]:
        if beams == 1:
            return greedy(ours, source, **options)
        return [h[0].tokens for h in beam_search(ours, source, beam_size=beams, alpha=0.0, **options)]

    def by_transformers() -> list[list[int]]:
        found = theirs.generate(  # type: ignore[operator]
            source, attention_mask=source != PAD, num_beams=beams, do_sample=False, max_new_tokens=LENGTH, min_new_tokens=LENGTH
        )  # fmt: skip
        return found[:, 1:].tolist()

    def by_ctranslate2(kind: str) -> Run:
        made = translator(theirs, kind)

        def run() -> list[list[int]]:
            found = made.translate_batch(
                words, beam_size=beams, max_decoding_length=LENGTH, min_decoding_length=LENGTH, length_penalty=0
            )
            return [[int(word) for word in each.hypotheses[0]] for each in found]

        return run

    return {
        "stepladder": Side(stepladder, lambda: packed(*weights)),
        "stepladder, packing counted": Side(stepladder),
        "MarianMT": Side(by_transformers),
        "CTranslate2 fp32": Side(by_ctranslate2("float32")),
        "CTranslate2 int8": Side(by_ctranslate2("int8")),
    }


def measured(sides: dict[str, Side], rounds: int) -> dict[str, float]:
    """The least CPU seconds of each side."""
    least = dict.fromkeys(sides, math.inf)
    for _ in range(rounds):
        for name, side in sides.items():
            with side.around():
                start = time.process_time()
                side.run()
                least[name] = min(least[name], time.process_time() - start)
    return least


def gigaflops() -> float:
    """What oneDNN reaches on a product of a feed-forward layer, in 10^9 operations a second."""
    x, weight = torch.randn(PAIRS * LENGTH, D), torch.randn(FF, D)
    once = measured({"": Side(lambda: product(x, weight))}, 30)[""]
    return 2 * x.numel() * FF / once / 1e9


def flops_of_a_training_token() -> int:
    """Multiplications and additions of the matrix products, attention's own left out: forward, and twice that backward."""
    encoder, decoder = 4 * D * D + 2 * D * FF, 8 * D * D + 2 * D * FF
    return 3 * 2 * (LAYERS * (encoder + decoder) + D * V)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    speed = gigaflops()
    floor = flops_of_a_training_token() / speed / 1e6
    tables: dict[str, dict[str, float]] = {}
    print(f"{'CPU milliseconds':30s}{'':>16s}{'MarianMT = 1':>14s}")
    for work, sides, units in (
        ("training", training(), PAIRS * LENGTH), ("greedy", decoding(1), SENTENCES), ("beam 5", decoding(BEAM), SENTENCES),
    ):  # fmt: skip
        if work != "training":
            check(sides)
        spent = measured(sides, ROUNDS[work])
        tables[work] = {name: round(1000 * seconds / units, 4) for name, seconds in spent.items()}
        unit = "a target token" if work == "training" else "a sentence"
        for name, milliseconds in tables[work].items():
            print(
                f"{work + ', ' + name:38s}{milliseconds:>8.3f} {unit:15s}{milliseconds / tables[work]['MarianMT']:>6.2f}"
            )
        if work == "training":
            print(
                f"{'training, matrix products alone':38s}{floor:>8.3f} {unit:15s}{floor / tables[work]['MarianMT']:>6.2f}"
            )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({
        "device": f"{processor()}, one thread", "command": "OMP_NUM_THREADS=1 python benchmarks/seq2seq.py",
        "torch": torch.__version__, "transformers": transformers.__version__, "ctranslate2": ctranslate2.__version__,
        "unit": "CPU milliseconds: of training a target token, of decoding a sentence; the least of the rounds", "rounds": ROUNDS,
        "onednn_gigaflops": round(speed), "training_floor": round(floor, 4), "milliseconds": tables,
        "goals": {
            "training": tables["training"]["stepladder"] * 1.5 <= min(tables["training"][n] for n in ("MarianMT", "nn.Transformer")),
            **{w: tables[w]["stepladder"] * 2 <= tables[w]["MarianMT"] for w in ("greedy", "beam 5")},
        },
    }, indent=1) + "\n")  # fmt: skip


def check(sides: dict[str, Side]) -> None:
    """In single precision all say the same; two that differ in the last bit may part at a tie."""
    said = {name: side.run() for name, side in sides.items()}
    for name in ("MarianMT", "CTranslate2 fp32"):
        alike = sum(a == b for a, b in zip(said["stepladder"], said[name], strict=True))
        print(f"{alike} of {SENTENCES} sentences are {name}'s")
        assert alike > SENTENCES / 2


if __name__ == "__main__":
    main()
