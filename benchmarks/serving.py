"""What serving options cost and change: CTranslate2 and int8 against this project's decoding, on a trained model's test split.

    python benchmarks/serving.py [--model models/transformer] [--data data/text] [--sentences 300]

Prints and writes to benchmarks/results/serving.json, for each option and search: the share of translations that equal
single precision's of this project token by token, chrF, and CPU seconds (one thread, minimum over rounds, in alternation).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
import ctranslate2
import torch
from sacrebleu.metrics.chrf import CHRF

from stepladder.params import Decoding
from stepladder.transformer.ctranslate2_export import export
from stepladder.transformer.inference.translation import encode, translate
from stepladder.transformer.networks.trained import load
from stepladder.transformer.quantisation import int8

ROUNDS = 3
SEARCHES = {"greedy": (1, 0.0), "beam 4": (4, 0.0), "beam 4, length penalty 1": (4, 1.0)}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--model", type=Path, default=Path("models/transformer"))
    options.add_argument("--data", type=Path, default=Path("data/text"))
    options.add_argument("--sentences", type=int, default=300)
    args = options.parse_args()
    torch.set_num_threads(1)
    model, tokenizer, config = load(args.model, task="pairs")
    rows = [json.loads(line) for line in (args.data / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = rows[: args.sentences]
    sources, references = [row["source"] for row in rows], [row["target"] for row in rows]
    language = config["target_languages"][0]
    small = int8(model)
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        export(model, tokenizer, config, folder)
        exported = {
            kind: ctranslate2.Translator(str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=1)
            for kind in ("float32", "int8")
        }
        asked = [[tokenizer.id_to_token(i) for i in ids] for ids in encode(tokenizer, config, sources, language)]

        def ours(network: torch.nn.Module, beams: int, alpha: float) -> list[str]:
            decoding = Decoding(beam_size=beams, length_penalty=alpha)
            return translate(network, tokenizer, config, sources, decoding, language)  # type: ignore[arg-type]

        def theirs(kind: str, beams: int, alpha: float) -> list[str]:
            answers = exported[kind].translate_batch(
                asked,
                beam_size=beams,
                length_penalty=alpha,
                max_decoding_length=128,
                max_batch_size=8192,
                batch_type="tokens",
            )
            ids = [[tokenizer.token_to_id(token) for token in answer.hypotheses[0]] for answer in answers]
            return [text.strip() for text in tokenizer.decode_batch(ids)]

        for search, (beams, alpha) in SEARCHES.items():
            ways: dict[str, Callable[[], list[str]]] = {
                "ours": lambda: ours(model, beams, alpha),  # noqa: B023
                "ours, int8": lambda: ours(small, beams, alpha),  # noqa: B023
                "CTranslate2": lambda: theirs("float32", beams, alpha),  # noqa: B023
                "CTranslate2, int8": lambda: theirs("int8", beams, alpha),  # noqa: B023
            }
            seconds = dict.fromkeys(ways, float("inf"))
            texts: dict[str, list[str]] = {}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    start = _cpu()
                    texts[name] = way()
                    seconds[name] = min(seconds[name], _cpu() - start)
            found[search] = {
                name: {
                    "equal": sum(a == b for a, b in zip(said, texts["ours"], strict=True)) / len(said),
                    "chrf": CHRF().corpus_score(said, [references]).score,
                    "cpu_ms_a_sentence": 1000 * seconds[name] / len(said),
                }
                for name, said in texts.items()
            }
            for name, figures in found[search].items():
                print(
                    f"{search:26s}{name:20s}{figures['equal']:8.3f} equal{figures['chrf']:8.2f} chrF"
                    f"{figures['cpu_ms_a_sentence']:8.2f} ms a sentence",
                    flush=True,
                )
    result = {
        "sentences": len(rows),
        "model": config["model"],
        "ctranslate2": ctranslate2.__version__,
        "searches": found,
    }
    Path("benchmarks/results/serving.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _cpu() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


if __name__ == "__main__":
    main()
