"""Pictures from a trained autoencoder or generator: one pass of the network each."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from stepladder import loading
from stepladder.baselines.adversarial import Generator
from stepladder.baselines.autoencoder import VAE
from stepladder.baselines.description import BaselineDescription, GANDescription, VAEDescription
from stepladder.data.grid import grid
from stepladder.tasks.randomness import generator

BATCH = 512
NETWORKS: dict[str, type[nn.Module]] = {"vae": VAE, "gan": Generator}


def load(folder: Path) -> tuple[nn.Module, BaselineDescription]:
    """The network, in evaluation mode, and the description of the model in ``folder``.

    Raises:
        UserError: the folder holds neither an autoencoder nor a generator.
    """
    return loading.load(folder, _network, GANDescription, VAEDescription)


def _network(description: BaselineDescription) -> nn.Module:
    return NETWORKS[description.family](**description.model.model_dump())


@torch.inference_mode()
def draw(
    model: nn.Module,
    description: BaselineDescription,
    condition: dict[str, Tensor],
    *,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Tensor:
    """One picture for each of the N rows of ``condition["labels"]``: ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Picture i depends on (seed, i) and its label only, not on ``batch_size``: its code has its own generator. For an
    autoencoder it is the decoder's mean, not a sample, which would have independent noise at every pixel.
    """
    device, latent = next(model.parameters()).device, description.model.latent
    labels = condition["labels"]
    codes = [torch.randn(latent, generator=generator(seed, i)) for i in range(len(labels))]
    if not codes:
        return torch.empty(0, *description.model.shape)
    parts = zip(torch.split(torch.stack(codes), batch_size), torch.split(labels, batch_size), strict=True)
    return torch.cat([model(z.to(device), y.to(device)).float().clamp(-1, 1).cpu() for z, y in parts])


def preview(model: nn.Module, description: BaselineDescription, seed: int) -> Image.Image:
    """Forty pictures, ten a row, one class a column."""
    labels = torch.arange(40) % 10 % max(len(description.classes), 1)
    return grid(draw(model, description, {"labels": labels}, seed=seed), columns=10)
