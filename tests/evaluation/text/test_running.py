import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stepladder.evaluation.better import better
from stepladder.evaluation.text import evaluate
from stepladder.evaluation.text.running import by_line, extrapolated, losses
from stepladder.transformer.networks.trained import load
from tests.transformer import running, tiny


@pytest.mark.parametrize(("length", "context"), [(2, 8), (8, 8), (9, 8), (30, 8), (33, 8), (40, 7), (10, 64), (12, 1)])
def test_each_token_is_foretold_once_from_at_least_half_a_window(length: int, context: int) -> None:
    model, tokens = tiny.causal_lm(1), tiny.sentences([length], 1)[0]
    found = losses(model, tokens, context)
    stride = max(1, context // 2)
    expected = []
    for wanted in range(1, length):
        windows = max(0, -(-(wanted - context) // stride))  # that slid by before one holds it
        read = tokens[windows * stride : wanted]
        assert len(read) >= min(wanted, context - stride + 1)
        expected.append(F.cross_entropy(model(read[None])[0, -1], tokens[wanted]).item())
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_bits_a_character_are_all_nats_over_all_characters(tokenizer: str, tmp_path: Path) -> None:
    params = running.lines(tmp_path, tokenizer)
    metrics = evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    model, known, _ = load(tmp_path / "model")
    text = (tmp_path / "text" / "test.txt").read_bytes().decode()
    tokens = torch.from_numpy(np.load(tmp_path / "text" / "test.npy").astype(np.int64))
    nats = losses(model, tokens, 16).double().sum().item()
    characters = len(text) - len(known.decode(tokens[:1].tolist()))
    assert metrics["characters"] == characters
    assert metrics["tokens"] == len(tokens) - 1
    assert metrics["bits_per_character"] == pytest.approx(nats / math.log(2) / characters, rel=1e-6)
    assert metrics["loss"] == pytest.approx(nats / (len(tokens) - 1), rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]), rel=1e-6)
    assert metrics["bits_per_character_low"] < metrics["bits_per_character"] < metrics["bits_per_character_high"]
    assert 0 < metrics["unigram_bits_per_character"] < metrics["bits_per_character"]  # it has learned nothing
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics


def test_longer_windows_are_judged_on_the_same_tokens(tmp_path: Path) -> None:
    params = running.lines(tmp_path)
    metrics = evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    model, _, _ = load(tmp_path / "model")
    tokens = torch.from_numpy(np.load(tmp_path / "text" / "test.npy").astype(np.int64))
    ends = range(64, len(tokens), 16)
    for multiple in (1, 2, 4):
        length = 16 * multiple
        nats = [
            F.cross_entropy(model(tokens[None, end - length : end])[0, -16:], tokens[end - 15 : end + 1]).item()
            for end in ends
        ]
        assert metrics[f"loss_{multiple}x"] == pytest.approx(sum(nats) / len(nats), abs=1e-4)
    assert "loss 1x, 2x, 4x" in metrics["protocol"]


def test_learned_positions_and_short_texts_have_no_longer_windows(tmp_path: Path) -> None:
    params = running.lines(tmp_path, positions="learned")
    metrics = evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    assert [key for key in metrics if key.endswith("x")] == ["loss_1x"]
    model, _, _ = load(tmp_path / "model")
    assert extrapolated(model, torch.zeros(64, dtype=torch.int64), 16) == {}


def test_evaluate_leaves_its_files(tmp_path: Path) -> None:
    params = running.lines(tmp_path, positions="learned")
    evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    text = (tmp_path / "text" / "test.txt").read_bytes().decode()
    rows = [json.loads(line) for line in (tmp_path / "out" / "losses.jsonl").read_text().splitlines()]
    assert "".join(row["text"] for row in rows) == text
    said = [json.loads(line) for line in (tmp_path / "out" / "continuations.jsonl").read_text().splitlines()]
    assert all(row["prompt"] + row["text"] in text for row in said)
    assert all(row["continuation"] for row in said)
    drawn = json.loads((tmp_path / "out" / "attention.json").read_text())
    assert set(drawn["maps"]) == {"decoder"}
    assert {d.verdict for d in better(tmp_path / "out", tmp_path / "out", count=20, confidence=0.9, seed=0)} == {
        "no difference shown"
    }


def test_every_character_and_token_is_of_one_line(tmp_path: Path) -> None:
    running.lines(tmp_path)
    _, tokenizer, _ = load(tmp_path / "model")
    text = "one\n\ntwo – three\nfour"
    count = sum(len(e.ids) for e in tokenizer.encode_batch(["one\n\n", "two – three\n", "four"]))
    rows = by_line(tokenizer, text, torch.arange(1.0, count))
    assert [row["text"] for row in rows] == ["one\n\n", "two – three\n", "four"]
    assert sum(row["tokens"] for row in rows) == count - 1
    assert sum(row["nats"] for row in rows) == pytest.approx(count * (count - 1) / 2)
