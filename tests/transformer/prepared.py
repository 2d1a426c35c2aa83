"""A little prepared text: words and their letters in reverse, in the form that ``data/preparing/text.py`` leaves."""

import json
from pathlib import Path

import numpy as np

from stepladder.data.tokenizer import tag, train
from stepladder.params import Params, build

LETTERS = "abcdefgh"


def params(**transformer: object) -> Params:
    training = {"steps": 4, "batch_size": 64, "accumulate": 1, "warmup_steps": 2} | transformer.pop("training", {})  # type: ignore[operator]
    small = {"d_model": 16, "d_ff": 32, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    return build({"transformer": small | transformer | {"training": training}, "text": {"vocab_size": 64}})


def prepare(folder: Path, languages: tuple[str, ...] = ("uk",), pairs: int = 60) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(LETTERS), n)) for n in random.integers(1, 9, pairs)]
    tags = [tag(language) for language in languages] if len(languages) > 1 else []
    tokenizer = train(words, "char", 64, tags)
    tokenizer.save(str(folder / "tokenizer.json"))
    for split, rows in (("train", words[20:]), ("validation", words[10:20]), ("test", words[:10])):
        lines = [(w, w[::-1], languages[i % len(languages)]) for i, w in enumerate(rows)]
        for side, texts in (("source", [p[0] for p in lines]), ("target", [p[1] for p in lines])):
            ids = [e.ids for e in tokenizer.encode_batch(texts)]
            if tags and side == "source":
                ids = [[tokenizer.token_to_id(tag(p[2])), *i] for p, i in zip(lines, ids, strict=True)]
            np.save(folder / f"{split}_{side}.npy", np.array([t for i in ids for t in i], dtype=np.uint16))
            np.save(folder / f"{split}_{side}_offsets.npy", np.cumsum([0] + [len(i) for i in ids], dtype=np.int64))
        written = [json.dumps(dict(zip(("source", "target", "language"), p, strict=True))) + "\n" for p in lines]
        (folder / f"{split}.jsonl").write_text("".join(written))
    card = {
        "max_length": 128,
        "kind": "text",
        "source": "test",
        "content_hash": "abc",
        "languages": {"source": "en", "targets": languages},
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder
