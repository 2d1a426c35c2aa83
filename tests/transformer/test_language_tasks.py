"""What holds of the training of every architecture; the translation's own tests are in test_task.py."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stepladder.data.tokenizer import SPECIAL
from stepladder.errors import UserError
from stepladder.transformer import pretraining_task
from stepladder.transformer.networks.trained import load
from stepladder.transformer.training import classifier_task
from stepladder.transformer.training.language_task import choose_rows
from stepladder.transformer.training.masking import MASK, hide
from stepladder.transformer.training.task import experiment
from tests.transformer import texts

KINDS = [("lines", "decoder"), ("lines", "encoder"), ("labels", "encoder"), ("pairs", "encoder_decoder")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {task: texts.prepared(tmp_path_factory.mktemp(task), task, arch) for task, arch in dict(KINDS).items()}


def gradient(parts, share):
    task = parts[0][0].task.eval()
    task.model.zero_grad()
    for part, k in parts:
        batch = part.draw(k)
        (task._loss(batch, 0.1) / batch["tokens"] * share).backward()
    return torch.cat([p.grad.flatten() for p in task.model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("task", "architecture"), KINDS)
def test_any_split_into_ranks_and_micro_batches_gives_one_gradient(folders, task, architecture):
    torch.manual_seed(0)
    options = {"bpe_dropout": 0.2} if task == "pairs" else {}
    whole = experiment(texts.params(task, architecture, **options), folders[task])
    expected = gradient([(whole, 1)], 1.0)
    for ranks, accumulate in ((2, 1), (1, 3), (3, 2)):
        params = texts.params(task, architecture, training={"accumulate": accumulate}, **options)
        parts = [experiment(params, folders[task], rank=r, world_size=ranks) for r in range(ranks)]
        for part in parts:
            part.task.load_state_dict(whole.task.state_dict())
        drawn = [(part, accumulate + micro) for part in parts for micro in range(accumulate)]
        torch.testing.assert_close(gradient(drawn, 1 / (ranks * accumulate)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("task", "architecture"), KINDS)
def test_draw_is_a_function_of_its_position(folders, task, architecture):
    options = {"bpe_dropout": 0.2} if task == "pairs" else {}
    one, other = (experiment(texts.params(task, architecture, **options), folders[task]) for _ in range(2))
    for k in (0, 40, 3):
        first, again = one.draw(k), other.draw(k)
        assert first["position"] == k
        assert all(torch.equal(v, again[n]) for n, v in first.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize(("task", "architecture"), KINDS)
def test_validation_counts_everything_once_for_any_number_of_ranks(folders, task, architecture):
    sums, counts, state = [], [], None
    for ranks in (1, 3, 7):
        parts = [
            experiment(texts.params(task, architecture), folders[task], rank=r, world_size=ranks) for r in range(ranks)
        ]
        assert len({len(part.validation) for part in parts}) == 1
        judge = parts[0].task.eval()
        state = state or judge.state_dict()
        judge.load_state_dict(state)
        batches = [batch for part in parts for batch in part.validation]
        with torch.no_grad():
            sums.append(sum(float(judge._loss(batch, 0.0)) for batch in batches))
        counts.append(sum(int((batch["wanted"] != judge.nothing).sum()) for batch in batches))
    assert counts == [counts[0]] * 3
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-4)


@pytest.mark.parametrize(("task", "architecture"), KINDS)
def test_what_is_trained_can_be_loaded(folders, task, architecture, tmp_path):
    made = experiment(texts.params(task, architecture), folders[task])
    weights = {k: v for k, v in made.task.model.state_dict().items() if k not in ("source_embedding", "output")}
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(made.task.description.to_json())
    for name, file in made.files.items():
        (tmp_path / name).write_bytes(file.read_bytes())
    model, _, config = load(tmp_path)
    assert type(model) is type(made.task.model)
    known = "masked_lm" if (task, architecture) == ("lines", "encoder") else task
    assert (config.task, config.architecture) == (known, architecture)


def test_a_causal_batch_wants_the_next_token_and_bits_are_of_characters(folders):
    made = experiment(texts.params("lines", "decoder"), folders["lines"])
    batch = made.draw(5)
    assert batch["text"].shape == (16, 16)
    assert torch.equal(batch["text"][:, 1:], batch["wanted"][:, :-1])
    assert batch["tokens"] == 256
    found = made.task._figures(torch.tensor(math.log(2)), torch.tensor(0.0))
    assert float(found["bits_per_character"]) == pytest.approx(made.task.description.tokens_per_character)


def test_masks_are_as_published():
    text = np.random.default_rng(0).integers(0, 300, (400, 100))
    shown, wanted = hide(text, 300, 0, 0.15, 1, 2)
    again, _ = hide(text, 300, 0, 0.15, 1, 2)
    assert np.array_equal(shown, again)
    hidden = wanted != 0
    assert not (hidden & (text < len(SPECIAL))).any(), "special tokens are never wanted"
    assert np.array_equal(wanted[hidden], text[hidden])
    assert np.array_equal(shown[~hidden], text[~hidden])
    assert hidden.mean() == pytest.approx(0.15 * (1 - len(SPECIAL) / 300), abs=0.005)
    masked, same = shown[hidden] == MASK, shown[hidden] == text[hidden]
    assert masked.mean() == pytest.approx(0.8, abs=0.02)
    assert same.mean() == pytest.approx(0.1, abs=0.02)
    assert (shown[hidden & (shown != MASK)] >= len(SPECIAL)).all()


def test_a_classifier_starts_from_the_encoder_of_a_masked_model(folders, tmp_path):
    torch.manual_seed(1)
    masked = pretraining_task.experiment(texts.params("labels", "encoder"), folders["labels"])
    weights = {k: v for k, v in masked.task.model.state_dict().items() if k != "output"}
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(masked.task.description.to_json())
    (tmp_path / "tokenizer.json").write_bytes((folders["labels"] / "tokenizer.json").read_bytes())
    torch.manual_seed(2)
    made = experiment(texts.params("labels", "encoder", base=str(tmp_path)), folders["labels"])
    text = made.draw(0)["text"]
    assert torch.equal(made.task.eval().model.encoder(text), masked.task.eval().model.encoder(text))

    for options, sentence in (
        ({"d_model": 32}, "has d_model=16 and this classifier 32"),
        (
            {"base": str(tmp_path / "absent")},
            "there is no such folder; transformer.base names it; train a masked model",
        ),
    ):
        with pytest.raises(UserError, match=sentence):
            experiment(texts.params("labels", "encoder", **({"base": str(tmp_path)} | options)), folders["labels"])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="by another tokenizer"):
        experiment(texts.params("labels", "encoder", base=str(tmp_path)), folders["labels"])


def test_a_smaller_share_of_the_data_is_part_of_a_larger(folders):
    small, large = set(choose_rows(1000, 0.1, 3)), set(choose_rows(1000, 0.5, 3))
    assert len(small) == 100
    assert small < large < set(choose_rows(1000, 1.0, 3))
    for task, architecture in KINDS:
        made = experiment(texts.params(task, architecture, data_share=0.5), folders[task])
        assert made.draw(100)["position"] == 100


def test_what_cannot_be_is_refused(folders):
    with pytest.raises(UserError, match=r"architecture=decoder with text.task=pairs, which needs encoder_decoder"):
        texts.params("pairs", "decoder")
    with pytest.raises(UserError, match=r"was prepared with text.task=labels and this model needs lines"):
        experiment(texts.params("lines", "decoder"), folders["labels"])
    with pytest.raises(UserError, match=r"hold 16 blocks of transformer.context=16, fewer than the 20 parts"):
        experiment(texts.params("lines", "decoder", training={"accumulate": 20}), folders["lines"])
    with pytest.raises(UserError, match="it is of sentence pairs"):
        texts.params("lines", "decoder", bpe_dropout=0.1)


def test_a_classifier_learns(folders):
    made = experiment(texts.params("labels", "encoder", training={"steps": 60}), folders["labels"])
    optimizer = torch.optim.Adam(made.task.parameters(), 0.01)
    for k in range(60):
        optimizer.zero_grad()
        made.task.loss(made.draw(k)).backward()
        optimizer.step()
    made.task.eval()
    with torch.no_grad():
        right = sum(int(made.task._judged(batch)[1]) for batch in made.validation)
    assert right / sum(len(batch["wanted"]) for batch in made.validation) > 0.95
    assert classifier_task.NOTHING == -1
