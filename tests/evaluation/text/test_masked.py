import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stepladder.evaluation.text import evaluate
from stepladder.transformer.networks.description import MaskedLMDescription
from stepladder.transformer.networks.trained import load
from tests.transformer import running


def test_hidden_tokens_are_scored_and_no_others(tmp_path: Path) -> None:
    params = running.masked(tmp_path)
    metrics = evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    model, tokenizer, _ = load(tmp_path / "model", MaskedLMDescription)
    tokens = torch.from_numpy(np.load(tmp_path / "text" / "test.npy").astype(np.int64))
    share = params.transformer.mask_share
    assert metrics["hidden"] == pytest.approx(share * len(tokens), abs=4 * (share * len(tokens)) ** 0.5)
    assert 0 <= metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"] <= 1
    assert metrics["perplexity"] == pytest.approx(np.exp(metrics["loss"]))
    # a random model knows nothing: its loss is near that of the same model on tokens hidden in another way
    blocks = tokens[: len(tokens) // 16 * 16].view(-1, 16)
    hidden = torch.rand(blocks.shape, generator=torch.Generator().manual_seed(1)) < share
    unknown = tokenizer.token_to_id("<unk>")
    with torch.inference_mode():
        scores = model(blocks.masked_fill(hidden, unknown))[hidden]
    assert metrics["loss"] == pytest.approx(F.cross_entropy(scores, blocks[hidden]).item(), rel=0.15)


def test_the_same_tokens_are_hidden_every_time(tmp_path: Path) -> None:
    params = running.masked(tmp_path)
    once, again = (evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / name) for name in "ab")
    assert once == again
