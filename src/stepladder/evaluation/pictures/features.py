"""The features that pictures are judged in: this data's feature network, or Inception where ``evaluation.inception_weights`` is set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.errors import UserError
from stepladder.evaluation.pictures import feature_net

Array = npt.NDArray[np.float64]
Extractor = Callable[[Tensor], tuple[Array, npt.NDArray[np.int64]]]
BATCH = 512
INCEPTION_SIDE = 299


def judge(folder: Path, inception_weights: str = "") -> Extractor:
    """A function from pictures ``(N, C, H, W)`` in [-1, 1] to features ``(N, D)`` and verdicts ``(N,)``.

    Verdicts are always the feature network's, in ``folder``; features are Inception's where ``inception_weights`` names a
    TorchScript file that maps ``(N, 3, 299, 299)`` in [-1, 1] to features ``(N, D)``.

    Raises:
        UserError: a network cannot be loaded, or that of the file returns something else.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, _ = feature_net.load(folder)
    network.to(device)
    inception = _inception(inception_weights, device) if inception_weights else None

    @torch.inference_mode()
    def extract(pictures: Tensor) -> tuple[Array, npt.NDArray[np.int64]]:
        features, verdicts = [], []
        for batch in torch.split(pictures, BATCH):
            batch_features, logits = network(batch.to(device))
            if inception is not None:
                batch_features = inception(_for_inception(batch.to(device)))
            features.append(batch_features.double().cpu())
            verdicts.append(logits.argmax(1).cpu())
        return torch.cat(features).numpy(), torch.cat(verdicts).numpy()

    return extract


def _inception(file: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        network = torch.jit.load(file, map_location=device).eval()
        with torch.inference_mode():
            features = network(torch.zeros(2, 3, INCEPTION_SIDE, INCEPTION_SIDE, device=device))
    except (RuntimeError, ValueError, OSError) as error:
        raise _refusal(file, f"cannot be used ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(features, Tensor) or features.shape[:1] != (2,) or features.ndim != 2:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise _refusal(file, f"gives {got} for two pictures, not features (2, D)")
    inception: Callable[[Tensor], Tensor] = network
    return inception


def _refusal(file: str, problem: str) -> UserError:
    return UserError(
        f"evaluation.inception_weights={file} {problem}; name a TorchScript file that maps (N, 3, {INCEPTION_SIDE}, "
        f"{INCEPTION_SIDE}) to features, or leave it empty to use this data's feature network."
    )


def _for_inception(x: Tensor) -> Tensor:
    x = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    return F.interpolate(x, size=(INCEPTION_SIDE, INCEPTION_SIDE), mode="bilinear", antialias=True)
