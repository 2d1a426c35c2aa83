"""How much the squared error counts at each noise level.

A weighting is a function of the signal-to-noise ratio for the error in ``x_0``; what a network predicts is another target,
whose squared error is another multiple of that in ``x_0``. ``none`` is weight 1 for the network's own target, whatever it is.
"""

from __future__ import annotations

from torch import Tensor, ones_like

from stepladder.diffusion.processes.process import Process


def weight(name: str, process: Process, snr: Tensor, gamma: float = 0.0) -> Tensor:
    """Weight of the squared error of a network of this ``process``, at ``snr``; like ``snr``.

    - ``min_snr``: Hang et al. (2023), min(snr, gamma) for x_0: min(snr, gamma) / snr for eps, / (snr + 1) for v.
    - ``p2``: Choi et al. (2022), equation 8 with k = 1: 1 / (1 + snr)^gamma for eps.
    - ``edm``: Karras et al. (2022), table 1: (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 for x_0, that is
      snr + sigma_data^-2. For the target of ``edm`` itself it is 1, since that process has it built in.
    """
    if name == "none":
        return ones_like(snr)
    x_0_weight = {
        "min_snr": lambda: snr.clamp(max=gamma),
        "p2": lambda: snr / (1 + snr) ** gamma,
        "edm": lambda: snr + process.sigma_data**-2,
    }[name]()
    return x_0_weight * process.error_of_x0(snr)
