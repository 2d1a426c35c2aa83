import pytest
import torch
from torch import nn

from stepladder.transformer.inference.decoding import beam_search, greedy
from stepladder.transformer.quantisation import int8
from tests.transformer import tiny
from tests.transformer.inference.test_decoding import ENDS

TEXT = tiny.sentences([6, 6], 3)


@pytest.mark.parametrize("mechanism", list(tiny.MECHANISMS))
def test_scores_are_nearly_those_of_single_precision(mechanism: str) -> None:
    options = tiny.MECHANISMS[mechanism]
    for model, inputs in (
        (tiny.model(**options), (TEXT, TEXT)),
        (tiny.causal_lm(**options), (TEXT,)),
        (tiny.masked_lm(**options), (TEXT,)),
        (tiny.classifier(**options), (TEXT,)),
    ):
        with torch.inference_mode():
            expected, found = model(*inputs), int8(model)(*inputs)
        assert not torch.equal(expected, found)
        assert (expected - found).abs().mean() < 0.1 * expected.std()
        assert torch.equal(model(*inputs), expected)  # the model itself is as it was


def test_no_layer_is_left_in_single_precision_the_output_neither() -> None:
    quantised = int8(tiny.model())
    assert not [m for m in quantised.modules() if isinstance(m, nn.Linear)]
    assert isinstance(quantised.logits.__self__, torch.ao.nn.quantized.dynamic.Linear)


def test_it_decodes() -> None:
    model = int8(tiny.model(1, tied=False))
    assert all(greedy(model, TEXT, max_length=8, **ENDS))
    assert all(beam_search(model, TEXT, beam_size=3, alpha=0.6, max_length=8, **ENDS))
