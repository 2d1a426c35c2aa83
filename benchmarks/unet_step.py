"""One training step of the compact UNet against diffusers' UNet2DModel: forward, backward and Adam at 1x32x32, batch 64.

    OMP_NUM_THREADS=1 python benchmarks/unet_step.py

All have three levels of two blocks, attention at 16 and 8, the same inputs and the same fused Adam. diffusers' has the widths
(32, 64, 64), 4 heads and, as ours, a time that scales and shifts the norms: 1.83M parameters, the side that ratios are of. With
the time added, its default, it has 1.71M. Ours in the same widths and heads is the same network. The compact one has as many
parameters (the rule: within 2% of diffusers'; it is 0.2%) in the widths (32, 48, 80) and 2 heads: full width where the picture
is, less arithmetic at 16, more parameters at 8. What they learn in equal steps, ``unet_quality.py`` measures.

Rounds alternate between all in one process; all are in the layout that their makers give them. Peak memory is that of a process of
its own that takes two steps, less what it holds before the first.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

RESULT = Path(__file__).parent / "results" / "unet_step.json"
SHAPE, BATCH, ROUNDS, STEPS = (1, 32, 32), 64, 5, 1
OURS = {
    "stepladder": {"channels": 16, "channel_mult": (2, 3, 5), "heads": 2},
    "stepladder, widths of diffusers": {"channels": 32, "channel_mult": (1, 2, 2), "heads": 4},
}
SIDES = (*OURS, "diffusers", "diffusers, time added")


def network(side: str) -> nn.Module:
    if side in OURS:
        from stepladder.diffusion.networks.unet import UNet

        return UNet(SHAPE, **OURS[side], blocks=2, attention_resolutions=(16, 8), dropout=0.0, classes=0)  # type: ignore[arg-type]
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=32, in_channels=1, out_channels=1, block_out_channels=(32, 64, 64), layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=16, norm_num_groups=8,
        resnet_time_scale_shift="default" if "added" in side else "scale_shift",
    )  # fmt: skip


def predicted(side: str, model: nn.Module, x: Tensor, time_: Tensor) -> Tensor:
    """What ``model`` gives at ``x`` ``(N, C, H, W)`` and steps ``time_`` ``(N,)`` of 1000."""
    if side in OURS:
        return model(x, time_ / 1000, {"labels": torch.zeros_like(time_)})
    return model(x, time_).sample


def stepper(side: str) -> tuple[nn.Module, Callable[[], None]]:
    torch.manual_seed(0)
    model = network(side)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    x, eps, time_ = torch.randn(BATCH, *SHAPE), torch.randn(BATCH, *SHAPE), torch.randint(1000, (BATCH,))

    def step() -> None:
        F.mse_loss(predicted(side, model, x, time_), eps).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def peak(side: str) -> None:
    """Print the megabytes that two steps take beside what the process holds before."""
    _, step = stepper(side)
    before = high_water()
    for _ in range(2):
        step()
    print(high_water() - before)


def flops(side: str, model: nn.Module) -> int:
    """Of a forward for one picture, attention written out as products; a multiplication and an addition are two."""
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predicted(side, model, torch.zeros(1, *SHAPE), torch.zeros(1, dtype=torch.long))
    return counter.get_total_flops()


def high_water() -> float:
    """Largest resident memory of this process so far, in megabytes (Linux; ``ru_maxrss`` would count the parent's)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        return peak(sys.argv[1])
    made = {side: stepper(side) for side in SIDES}
    wall: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu: dict[str, list[float]] = {side: [] for side in SIDES}
    for round_ in range(ROUNDS + 1):
        for side, (_, step) in made.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(STEPS):
                step()
            if round_:  # the first warms up
                wall[side].append((time.perf_counter() - start) / STEPS)
                cpu[side].append((time.process_time() - start_cpu) / STEPS)
    rows = {}
    for side, (model, _) in made.items():
        memory = subprocess.run([sys.executable, __file__, side], capture_output=True, text=True, check=True)
        rows[side] = {
            "parameters": sum(p.numel() for p in model.parameters()), "forward_flops_a_picture": flops(side, model),
            "seconds_minimum": min(wall[side]), "seconds_median": statistics.median(wall[side]),
            "cpu_seconds_minimum": min(cpu[side]), "peak_megabytes": float(memory.stdout),
        }  # fmt: skip
    print(f"{'one step':33s}{'parameters':>12s}{'min ms':>9s}{'median':>9s}{'CPU ms':>9s}{'peak MB':>9s}{'ratio':>7s}")
    for side, row in rows.items():
        row["ratio"] = statistics.median(a / b for a, b in zip(cpu[side], cpu["diffusers"], strict=True))
        print(
            f"{side:33s}{row['parameters']:>12,d}{1000 * row['seconds_minimum']:>9.0f}{1000 * row['seconds_median']:>9.0f}"
            f"{1000 * row['cpu_seconds_minimum']:>9.0f}{row['peak_megabytes']:>9.0f}{row['ratio']:>7.2f}"
        )
    import diffusers

    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({
        "device": f"{platform.machine()}, one thread", "command": "OMP_NUM_THREADS=1 python benchmarks/unet_step.py",
        "torch": torch.__version__, "diffusers": diffusers.__version__, "shape": SHAPE, "batch": BATCH, "rounds": ROUNDS,
        "rule": "stepladder within 2% of the parameters of diffusers, which is the one that ratios are of",
        "ratio": "median over the rounds of CPU seconds over those of diffusers as it comes", "sides": rows,
    }, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
