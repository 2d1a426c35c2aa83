"""Admitted parameters of the language side, each prepared for, trained and used by the real code."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import torch

from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.launching.check import check
from stepladder.params import Params, build, merge
from stepladder.transformer.inference.classification import classify
from stepladder.transformer.inference.generation import generate
from stepladder.transformer.inference.translation import translate
from stepladder.transformer.networks import trained
from stepladder.transformer.networks.description import MaskedLMDescription, TextDescription
from stepladder.transformer.training import task
from tests.admitted.outcome import Refused, checking, finite, train
from tests.admitted.walk import Space, of_training
from tests.transformer import texts

LANGUAGES = ("uk", "de")


def together() -> list[Any]:
    """Keys that a walk of single steps would hardly find together."""

    def subject(chance: random.Random) -> dict[str, Any]:
        task, architecture = chance.choice(
            [("pairs", "encoder_decoder"), ("lines", "decoder"), ("lines", "encoder"), ("labels", "encoder")]
        )
        changed: dict[str, Any] = {
            "text.task": task, "transformer.architecture": architecture, "transformer.training.stop_on": "none",
            "transformer.training.patience": 0, "transformer.bpe_dropout": 0.0, "transformer.context": 16,
            "transformer.training.accumulate": 1,
        }  # fmt: skip
        return changed

    def heads(chance: random.Random) -> dict[str, Any]:
        count = chance.choice([1, 2, 3, 4])
        return {
            "transformer.num_heads": count, "transformer.kv_heads": chance.choice([0, 1, count]),
            "transformer.d_model": count * chance.choice([3, 4, 6, 8]),
        }  # fmt: skip

    def sampled(chance: random.Random) -> dict[str, Any]:
        return {
            "decoding.method": "sample", "decoding.temperature": chance.choice([1e-4, 0.5, 100.0]),
            "decoding.top_k": chance.choice([0, 1, 1000]), "decoding.top_p": chance.choice([1e-3, 0.9, 1.0]),
            "decoding.min_p": chance.choice([0.0, 0.1, 1.0]), "decoding.repetition_penalty": chance.choice([0.1, 1.0, 10.0]),
        }  # fmt: skip

    def learned(chance: random.Random) -> dict[str, Any]:
        return {"transformer.positions": "learned", "decoding.max_length": chance.choice([1, 8, 20])}

    def dropped(chance: random.Random) -> dict[str, Any]:
        return {"text.tokenizer": "bpe", "transformer.bpe_dropout": chance.choice([0.1, 0.9])}

    def by_bleu(chance: random.Random) -> dict[str, Any]:
        return {"transformer.training.stop_on": "bleu", "transformer.training.validate_every": 1}

    trainings = [of_training("transformer.training"), of_training("classification.pretraining")]
    return [subject, subject, subject, heads, sampled, learned, dropped, by_bleu, *trainings]


TRAINING = {"steps": 2, "batch_size": 160, "validate_every": 2, "warmup_steps": 0}
SPACE = Space(
    start={
        "text.vocab_size": 64, "text.max_length": 64, "transformer.d_model": 16, "transformer.d_ff": 16,
        "transformer.encoder_layers": 1, "transformer.decoder_layers": 1, "transformer.context": 16, "decoding.max_length": 8,
        **{f"transformer.training.{key}": value for key, value in TRAINING.items()},
        **{f"classification.pretraining.{key}": value for key, value in TRAINING.items()},
    },
    sections=("seed", "text", "transformer", "decoding", "classification"),
    held=(
        "transformer.training.steps", "classification.pretraining.steps", "text.source", "text.config", "text.revision",
        "text.limit", "text.on_bad_row", "text.held_out", "text.text_column", "text.label_column", "text.source_language",
        "transformer.base",
    ),
    most={
        "d_model": 32, "d_ff": 32, "num_heads": 4, "kv_heads": 4, "encoder_layers": 2, "decoder_layers": 2, "context": 40,
        "batch_size": 400, "accumulate": 4, "learning_rate": 1e-3, "average_last": 3, "vocab_size": 120, "max_length": 80,
        "beam_size": 64, "top_k": 200, "seed": 2**31,
    },
    words={"text.name": ["", "own"], "text.target_languages": [["uk"], ["uk", "de"], ["de"]]},
    together=together(),
)  # fmt: skip


def prepared(params: Params, root: Path) -> Path:
    """What ``stepladder prepare text`` makes of a little text; raises ``Refused`` where it has too few rows for ``params``."""
    text = params.text
    key = f"{text.task}-{text.tokenizer}-{text.vocab_size}-{text.max_length}-{'.'.join(text.target_languages)}"
    folder = root / key
    if not (folder / "text" / "card.json").exists():
        source = texts.write(folder, text.task)
        if text.task == "pairs":
            _with_languages(source, text.target_languages)
        given = merge(params.model_dump(mode="json"), {"text": {"source": str(source)}})
        try:
            prepare(build(given), folder / "text")
        except UserError as error:
            raise Refused(f"by the preparation: {error}") from None
    return folder / "text"


def _with_languages(source: Path, languages: tuple[str, ...]) -> None:
    rows = [line.split("\t") for line in source.read_text().splitlines()[1:]]
    lines = ["\t".join(["en", *languages]), *("\t".join([row[0], *[row[1]] * len(languages)]) for row in rows)]
    source.write_text("".join(f"{line}\n" for line in lines))


def one(params: Params, chance: random.Random, root: Path) -> None:
    """Check, train, use; raises where something is not as it should be."""
    data, state, base = prepared(params, root / "data"), root / "state", root / "masked-lm"
    if params.text.task != "pairs" and params.transformer.architecture == "encoder" and chance.random() < 0.5:
        with checking():
            check("masked-lm", params, data)
        shutil.rmtree(base, ignore_errors=True)
        shutil.move(train(state, "masked-lm", params, data), base)
        trained.load(base, MaskedLMDescription)
        if params.text.task == "labels":
            params = build(merge(params.model_dump(mode="json"), {"transformer": {"base": str(base)}}))
    with checking():
        check("transformer", params, data, classifier=root)
    folder = train(state, "transformer", params, data)
    model, tokenizer, config = trained.load(folder)
    if params.text.task == "pairs":
        sentences = [*_held_out(data, "source"), ""]
        for language in params.text.target_languages:
            found = translate(model, tokenizer, config, sentences, params.decoding, language, seed=params.seed)
            assert len(found) == len(sentences)
    elif params.text.task == "labels":
        found = classify(model, tokenizer, config, _held_out(data, "text"))
        finite("a probability", found)
        assert torch.allclose(found.sum(1), torch.ones(2), atol=1e-5)
    elif params.transformer.architecture == "decoder":
        assert len(generate(model, tokenizer, config, ["high", "s"], params.decoding, seed=params.seed)) == 2
    _held_out_loss(params, data, model, config)


def _held_out(data: Path, column: str) -> list[str]:
    """Two texts that the preparation let pass."""
    lines = (data / "test.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    return [json.loads(line)[column] for line in lines]


def _held_out_loss(params: Params, data: Path, model: Any, description: TextDescription) -> None:
    """Of the model as it was loaded, on the held-out split that it is judged by."""
    experiment = task.experiment(params, data)
    experiment.task.model = model
    experiment.task.eval()
    with torch.inference_mode():
        for batch in experiment.validation:
            loss, _ = experiment.task._judged(batch)  # type: ignore[operator]
            finite("the loss of the held-out split", loss)
