"""Models of the ``transformers`` library against ours with their weights."""

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from stepladder.errors import UserError
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.weights import from_bert, from_gpt2, from_marian
from tests.transformer.tiny import perturbed

V = 31
SOURCE = torch.tensor([[5, 6, 7, 2, 0, 0], [9, 8, 7, 6, 5, 2], [3, 2, 0, 0, 0, 0]])
TARGET = torch.tensor([[0, 11, 12, 13], [0, 14, 15, 16], [0, 7, 9, 9]])


def equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def marian(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    config = {
        "vocab_size": V, "d_model": 16, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "pad_token_id": 0, "eos_token_id": 2,
        "decoder_start_token_id": 0, "forced_eos_token_id": None, "max_position_embeddings": 40, "init_std": 0.3,
    } | changes  # fmt: skip
    model = perturbed(transformers.MarianMTModel(transformers.MarianConfig(**config)))
    model.final_logits_bias.normal_()
    return model


@pytest.mark.parametrize("options", [{}, {"scale_embedding": True, "activation_function": "swish"}])
@torch.inference_mode()
def test_marian(options: dict[str, Any]) -> None:
    theirs = marian(**options)
    expected = theirs(input_ids=SOURCE, attention_mask=SOURCE != 0, decoder_input_ids=TARGET).logits
    ours = from_marian(theirs)
    equal(ours(SOURCE, TARGET), expected)
    cache = ours.start(SOURCE)
    for t in range(TARGET.shape[1]):
        equal(ours.step(TARGET[:, t : t + 1], cache)[:, 0], expected[:, t])


@pytest.mark.parametrize("changes", [{"decoder_attention_heads": 2}, {"tie_word_embeddings": False}])
def test_a_marian_unlike_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="The Marian model"):
        from_marian(marian(**changes))


@torch.inference_mode()
def test_gpt2() -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=V,
        n_embd=16,
        n_layer=3,
        n_head=4,
        n_positions=12,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    theirs = perturbed(transformers.GPT2LMHeadModel(config))
    tokens = torch.randint(V, (3, 12))
    equal(from_gpt2(theirs)(tokens), theirs(tokens).logits)


def bert() -> transformers.BertConfig:
    torch.manual_seed(0)
    return transformers.BertConfig(
        vocab_size=V, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=12, initializer_range=0.3, pad_token_id=0, num_labels=5,
    )  # fmt: skip


@torch.inference_mode()
def test_bert() -> None:
    theirs = perturbed(transformers.BertForMaskedLM(bert()))
    ours, seen = from_bert(theirs), SOURCE != 0
    assert isinstance(ours, MaskedLM)
    equal(ours(SOURCE)[seen], theirs(SOURCE, attention_mask=seen).logits[seen])


@torch.inference_mode()
def test_bert_classifies() -> None:
    theirs = perturbed(transformers.BertForSequenceClassification(bert()))
    ours = from_bert(theirs)
    assert isinstance(ours, TextClassifier)
    equal(ours(SOURCE), theirs(SOURCE, attention_mask=SOURCE != 0).logits)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(UserError, match="activation tanh is not among relu"):
        from_marian(marian(activation_function="tanh"))
