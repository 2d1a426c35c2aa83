import math

import pytest
import torch

from stepladder.transformer.attention_maps import attention_maps, entropy
from tests.transformer import tiny

SOURCE, TARGET = torch.tensor([5, 6, 7, 2]), torch.tensor([1, 7, 6])


@pytest.mark.parametrize("mechanism", list(tiny.MECHANISMS))
def test_every_layer_and_head_of_every_kind_and_no_result_changes(mechanism: str) -> None:
    options = tiny.MECHANISMS[mechanism]
    for model, tokens, shapes in (
        (tiny.model(**options), (SOURCE, TARGET), {"encoder": (4, 4), "decoder": (3, 3), "cross": (3, 4)}),
        (tiny.causal_lm(**options), (SOURCE,), {"decoder": (4, 4)}),
        (tiny.masked_lm(**options), (SOURCE,), {"encoder": (4, 4)}),
        (tiny.classifier(**options), (SOURCE,), {"encoder": (4, 4)}),
    ):
        before = model(*(t[None] for t in tokens))
        maps = attention_maps(model, *tokens)
        assert {kind: weights.shape for kind, weights in maps.items()} == {k: (2, 4, *s) for k, s in shapes.items()}
        for kind, weights in maps.items():
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
            assert (kind == "decoder") == torch.equal(weights, weights.tril())
        assert torch.equal(before, model(*(t[None] for t in tokens)))


def test_the_weights_are_those_of_the_formula() -> None:
    model = tiny.causal_lm(positions="none")
    layer = model.decoder[0]
    seen: list[torch.Tensor] = []
    handle = layer.self_attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    maps = attention_maps(model, SOURCE)
    handle.remove()
    with torch.inference_mode():
        query, key, _ = layer.self_attention.project(seen[0])
    scores = query[0] @ key[0].transpose(-1, -2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), -math.inf)
    torch.testing.assert_close(maps["decoder"][0], scores.softmax(-1))


def test_entropy_is_zero_for_one_and_the_logarithm_for_all_alike() -> None:
    one, alike = torch.eye(4).expand(1, 1, 4, 4), torch.full((1, 1, 3, 4), 0.25)
    assert entropy(one).item() == 0
    assert entropy(alike).item() == pytest.approx(math.log(4))
    assert entropy(torch.rand(2, 5, 3, 4)).shape == (2, 5)
