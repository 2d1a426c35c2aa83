import pytest
import torch
from torch.nn import functional as F

from stepladder.errors import UserError
from stepladder.evaluation.text.extrapolation import extrapolation, loss_by_position
from stepladder.transformer.networks.causal_lm import CausalLM
from tests.transformer import tiny

LENGTH = 16


def text(length: int, seed: int = 0) -> torch.Tensor:
    """Every token is seven more than the one two before it."""
    tokens = torch.randint(tiny.VOCABULARY, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
    while len(tokens) < length:
        tokens.append((tokens[-2] + 7) % tiny.VOCABULARY)
    return torch.tensor(tokens)


def trained(positions: str) -> CausalLM:
    torch.manual_seed(0)
    model = CausalLM(tiny.VOCABULARY, 32, 128, 4, 2, 0.0, tiny.PAD, LENGTH, positions=positions)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(150):
        rows = torch.stack([text(LENGTH + 1, 16 * step + i) for i in range(16)])
        optimizer.zero_grad()
        F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), rows[:, 1:]).backward()
        optimizer.step()
    return model.eval()


def test_loss_by_position_is_that_of_each_position() -> None:
    model, tokens = tiny.causal_lm(), torch.randint(3, tiny.VOCABULARY, (5, 9))
    found = loss_by_position(model, tokens, batch_size=2)
    table = model(tokens).log_softmax(-1)
    expected = [-table[range(5), t, tokens[:, t + 1]].mean().item() for t in range(8)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_windows_end_with_the_same_tokens() -> None:
    model, tokens = tiny.causal_lm(), text(100)
    found = extrapolation(model, tokens, LENGTH)
    assert list(found) == [16, 32, 64]
    expected = torch.stack(
        [loss_by_position(model, tokens[None, e - 32 : e + 1])[-LENGTH:] for e in range(64, 100, 16)]
    )
    assert found[32] == pytest.approx(expected.mean().item(), abs=1e-5)


def test_learned_positions_have_no_figure_beyond_the_training_length() -> None:
    model = tiny.causal_lm(positions="learned")
    assert list(extrapolation(model, text(100), 8)) == [8]
    with pytest.raises(UserError, match="learned 8 positions"):
        loss_by_position(model, text(100)[None])


@pytest.mark.slow
def test_alibi_extrapolates_where_sinusoidal_positions_do_not() -> None:
    alibi, sinusoidal = (extrapolation(trained(p), text(200, 9), LENGTH) for p in ("alibi", "sinusoidal"))
    assert alibi[16] < 1
    assert alibi[64] < alibi[16] + 0.2
    assert sinusoidal[64] > alibi[64] + 1
