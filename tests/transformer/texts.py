"""Little prepared texts of every task, and the parameters of tiny models of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepladder.data.preparing.text import prepare
from stepladder.params import Params, build, merge

WORDS = {"up": ["high", "top", "above", "rise"], "down": ["low", "fall", "below", "sink"]}


def write(folder: Path, task: str) -> Path:
    """A source file for ``task``: short sentences of ``WORDS``, whose class is the direction."""
    random = np.random.default_rng(0)
    rows = []
    for n in range(300):
        label = ("up", "down")[n % 2]
        words = random.choice(WORDS[label], int(random.integers(1, 9))).tolist()
        rows.append((f"{' '.join(words)} {n}", label))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("own.txt" if task == "lines" else "own.tsv")
    if task == "lines":
        file.write_text("".join(f"{text}\n" for text, _ in rows))
    else:
        head = "text\tlabel\n" if task == "labels" else "en\tuk\n"
        file.write_text(
            head + "".join(f"{text}\t{label if task == 'labels' else text[::-1]}\n" for text, label in rows)
        )
    return file


def params(task: str, architecture: str, source: Path | str = "", **transformer: object) -> Params:
    training = {
        "steps": 20, "batch_size": 256, "warmup_steps": 2, "validate_every": 10, "learning_rate": 0.01,
    }  # fmt: skip
    small = {
        "architecture": architecture, "d_model": 16, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1, "context": 16,
        "training": training,
    }  # fmt: skip
    text = {"task": task, "source": str(source) or "names", "vocab_size": 64, "max_length": 64}
    pretraining = {"classification": {"pretraining": training}}
    return build(merge({"text": text, "transformer": small} | pretraining, {"transformer": transformer}))


def prepared(folder: Path, task: str, architecture: str) -> Path:
    """``folder/text`` with the prepared form."""
    prepare(params(task, architecture, write(folder, task)), folder / "text")
    return folder / "text"
