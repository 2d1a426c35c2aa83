"""A tiny model with random weights, for the properties that hold of any weights."""

import torch

from stepladder.transformer.seq2seq import Seq2Seq

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 23


def model(seed: int = 0, norm: str = "pre", tied: bool = True) -> Seq2Seq:
    torch.manual_seed(seed)
    network = Seq2Seq(VOCABULARY, 16, 32, 4, 2, 2, 0.1, norm, tied, pad=PAD, max_length=8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return network.eval()


def sentences(lengths: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.full((len(lengths), max(lengths)), PAD)
    for i, length in enumerate(lengths):
        rows[i, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
    return rows
