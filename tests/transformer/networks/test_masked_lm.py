from typing import Any

import pytest
import torch

from tests.transformer import tiny

close = torch.testing.assert_close
MECHANISMS = pytest.mark.parametrize("options", tiny.MECHANISMS.values(), ids=tiny.MECHANISMS)
LENGTHS = [4, 9, 2, 1]


@MECHANISMS
def test_padding_company_and_order_change_nothing(options: dict[str, Any]) -> None:
    tokens, order = torch.nn.functional.pad(tiny.sentences(LENGTHS), (0, 3)), torch.tensor([2, 0, 3, 1])
    for model in (tiny.masked_lm(**options), tiny.classifier(**options), tiny.classifier(pooling="first", **options)):
        together = model(tokens)
        close(model(tokens[order]), together[order], atol=1e-5, rtol=1e-5)
        for i, length in enumerate(LENGTHS):
            alone = model(tokens[i : i + 1, :length])[0]
            close(alone, together[i, :length] if together.ndim == 3 else together[i], atol=1e-5, rtol=1e-5)


@MECHANISMS
def test_every_token_sees_the_whole_text(options: dict[str, Any]) -> None:
    model, tokens = tiny.masked_lm(**options), tiny.sentences([6])
    for at in range(6):
        changed = tokens.clone()
        changed[0, at] = (changed[0, at] - 2) % (tiny.VOCABULARY - 3) + 3
        assert ((model(changed) - model(tokens)).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "alibi", "none"])
def test_the_order_of_the_tokens_counts_unless_there_are_no_positions(positions: str) -> None:
    model, tokens = tiny.masked_lm(positions=positions), tiny.sentences([6])
    same = torch.allclose(model(tokens).flip(1), model(tokens.flip(1)), atol=1e-5)
    # ALiBi's distances are the same in both directions
    assert same == (positions in ("none", "alibi"))
    swapped = tokens[:, [1, 0, 2, 3, 4, 5]]
    assert torch.allclose(model(tokens)[:, 5], model(swapped)[:, 5], atol=1e-5) == (positions == "none")


def test_a_classifier_takes_over_the_encoder() -> None:
    model, classifier = tiny.masked_lm(1), tiny.classifier(2, classes=5)
    tokens = tiny.sentences([4, 7])
    classifier.encoder.load_state_dict(model.encoder.state_dict())
    assert torch.equal(classifier.encoder(tokens), model.encode(tokens))
    assert classifier(tokens).shape == (2, 5)
    names = {name for name in model.state_dict() if name.startswith("encoder.")}
    assert names == {name for name in classifier.state_dict() if name.startswith("encoder.")}


def test_nothing_but_padding_is_finite() -> None:
    scores = tiny.classifier()(torch.zeros(2, 3, dtype=torch.long))
    assert scores.isfinite().all()
