"""How much the squared error counts at each noise level.

A weighting is a function of the signal-to-noise ratio for the error in ``x_0``; what a network predicts is another target,
whose squared error is another multiple of that in ``x_0``. ``none`` is weight 1 for the network's own target, whatever it is.
"""

from __future__ import annotations

from torch import Tensor, ones_like

from stepladder.diffusion.parameterisation import SIGMA_DATA


def weight(name: str, target: str, snr: Tensor, gamma: float = 0.0) -> Tensor:
    """Weight of the squared error of a network that predicts ``target`` (eps, x0, v, edm, flow), at ``snr``; like ``snr``.

    - ``min_snr``: Hang et al. (2023), min(snr, gamma) for x_0: min(snr, gamma) / snr for eps, / (snr + 1) for v.
    - ``p2``: Choi et al. (2022), equation 8 with k = 1: 1 / (1 + snr)^gamma for eps.
    - ``edm``: Karras et al. (2022), table 1: (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 for x_0, that is snr + 4. Of the
      target of ``edm`` itself it is 1: that process has it built in.
    """
    if name == "none":
        return ones_like(snr)
    of_x_0 = {
        "min_snr": lambda: snr.clamp(max=gamma),
        "p2": lambda: snr / (1 + snr) ** gamma,
        "edm": lambda: snr + SIGMA_DATA**-2,
    }[name]()
    return of_x_0 * error_of_x_0(target, snr)


def error_of_x_0(target: str, snr: Tensor) -> Tensor:
    """Squared error in ``x_0`` for a squared error of 1 in ``target``, see ``parameterisation.to_x0``."""
    return {
        "eps": lambda: 1 / snr,
        "x0": lambda: ones_like(snr),
        "v": lambda: 1 / (1 + snr),
        "edm": lambda: 1 / (snr + SIGMA_DATA**-2),
        "flow": lambda: 1 / (1 + snr.sqrt()) ** 2,
    }[target]()
