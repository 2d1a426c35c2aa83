"""Arithmetic of one sampling step against diffusers' schedulers: batch 64 of 1x32x32, one thread, no network.

    OMP_NUM_THREADS=1 python benchmarks/sampler_overhead.py

Every sampler draws S = 50 of T = 1000 steps with a network whose output was made before: x_0 itself, or "from eps", of which both
sides make x_0 and clip it. A whole drawing is timed and divided by S, so Heun's two evaluations are one step on both sides. Not
counted is what is made once for a drawing (the levels here, ``set_timesteps`` there), and of diffusers' Euler and Heun
``scale_model_input``. Fresh noise costs more than the rest of the step: a row says whether it is drawn ("fresh noise") or
replayed. "As draw does" is the whole of ``drawing.draw`` but the network: times, guidance switched off, x_0 from eps, clipping, and
a generator for every picture. Rounds alternate between all rows in one process; the minimum counts, since whatever else the machine
does can only add to it.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers import scheduling_ddpm
from torch import Tensor, nn

from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.samplers.heun import heun
from stepladder.diffusion.samplers.multistep import dpmpp_2m, unipc
from stepladder.diffusion.samplers.one_step import ancestral, ddim, euler
from stepladder.diffusion.samplers.sampler import Denoise, Denoised, Noise
from stepladder.diffusion.sampling.drawing import denoiser, noise_of
from stepladder.diffusion.sampling.thresholding import clipped
from stepladder.params import Sampling

RESULT = Path(__file__).parent / "results" / "sampler_overhead.json"
SHAPE, BATCH, T, S, ROUNDS = (1, 32, 32), 64, 1000, 50, 200
GOAL, JUDGED = 120.0, ("ancestral, from eps", "ddim, from eps")
CONFIG: dict[str, Any] = {
    "process": "discrete", "schedule": "linear", "timesteps": T, "prediction": "eps", "model": {"shape": SHAPE}, "classes": [],
}  # fmt: skip

torch.set_num_threads(1)
torch.manual_seed(0)
x, x_0, eps, some = torch.randn(4, BATCH, *SHAPE)
process = process_of(CONFIG)
visited = process.levels(S)


@dataclass(frozen=True)
class Side:
    """A drawing, and what is done before it without being counted."""

    draw: Callable[[], Any]
    before: Callable[[], Any] = lambda: None


class Network(nn.Module):
    """Says ``eps``, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return eps


def replayed() -> Tensor:
    return some


def fresh() -> Tensor:
    return torch.randn(BATCH, *SHAPE)


def known() -> Denoise:
    said = Denoised(x_0, some.sigmoid())
    return lambda x, i: said


def from_eps() -> Denoise:
    alphas, sigmas = visited.alphas.tolist(), visited.sigmas.tolist()
    return lambda x, i: Denoised(clipped(process.to_x0(eps, x, alphas[i], sigmas[i])))


def as_drawn() -> Denoise:
    return denoiser(Network(), CONFIG, {"labels": torch.zeros(BATCH, dtype=torch.long)}, visited, Sampling())


def ours(sampler: Callable[..., Tensor], denoise: Denoise, *noise: Noise, **options: Any) -> Side:
    return Side(lambda: sampler(denoise, x, visited, *noise, **options))


def theirs(kind: Any, output: Tensor = x_0, *, noise: Noise = fresh, **options: Any) -> Side:
    options = {"prediction_type": "sample", "timestep_spacing": "trailing"} | options
    scheduler = kind(num_train_timesteps=T, **options)

    def before() -> None:
        scheduler.set_timesteps(S)
        scheduler.is_scale_input_called = True
        scheduling_ddpm.randn_tensor = lambda *_, **__: noise()

    def draw() -> None:
        now = x
        for t in scheduler.timesteps:
            now = scheduler.step(output, t, now, return_dict=False)[0]

    return Side(draw, before)


def rows() -> dict[str, list[Side]]:
    """Ours, and diffusers' where there is one."""
    of_eps, plain = {"prediction_type": "epsilon", "clip_sample": True}, {"clip_sample": False}
    ddpm, both = diffusers.DDPMScheduler, torch.cat([x_0, some.tanh()], dim=1)
    own_generators = noise_of(0, 0, BATCH, SHAPE, torch.device("cpu"))
    return {
        "ancestral": [ours(ancestral, known(), replayed), theirs(ddpm, noise=replayed, **plain)],
        "ancestral, from eps": [ours(ancestral, from_eps(), replayed), theirs(ddpm, eps, noise=replayed, **of_eps)],
        "ancestral, from eps, fresh noise": [ours(ancestral, from_eps(), fresh), theirs(ddpm, eps, **of_eps)],
        "ancestral, as draw does": [ours(ancestral, as_drawn(), own_generators)],
        "ancestral, learned variance": [
            ours(ancestral, known(), replayed, variance="learned"),
            theirs(ddpm, both, noise=replayed, variance_type="learned_range", **plain),
        ],
        "ddim": [ours(ddim, known(), replayed), theirs(diffusers.DDIMScheduler, **plain)],
        "ddim, from eps": [ours(ddim, from_eps(), replayed), theirs(diffusers.DDIMScheduler, eps, **of_eps)],
        "euler": [ours(euler, known()), theirs(diffusers.EulerDiscreteScheduler)],
        "heun": [ours(heun, known(), replayed), theirs(diffusers.HeunDiscreteScheduler)],
        "dpmpp_2m": [ours(dpmpp_2m, known()), theirs(diffusers.DPMSolverMultistepScheduler)],
        "unipc": [ours(unipc, known()), theirs(diffusers.UniPCMultistepScheduler)],
    }  # fmt: skip


def microseconds(side: Side) -> float:
    """Of one step, over a whole drawing."""
    side.before()
    start = time.perf_counter()
    side.draw()
    return (time.perf_counter() - start) / S * 1e6


@torch.inference_mode()
def main() -> None:
    made = rows()
    taken: dict[str, list[list[float]]] = {name: [[] for _ in sides] for name, sides in made.items()}
    for round_ in range(ROUNDS + 1):
        for name, sides in made.items():
            for side, spent in zip(sides, taken[name], strict=True):
                once = microseconds(side)
                if round_:  # the first warms up
                    spent.append(once)
    table: dict[str, dict[str, float]] = {}
    print(f"{'microseconds a step: minimum (median)':38s}{'stepladder':>16s}{'diffusers':>16s}{'ratio':>8s}")
    for name, spent in taken.items():
        table[name], line = {}, f"{name:38s}"
        for who, times in zip(("stepladder", "diffusers"), spent, strict=False):
            least, median = round(min(times), 1), round(statistics.median(times), 1)
            table[name] |= {f"{who}_minimum": least, f"{who}_median": median}
            line += f"{f'{least:.0f} ({median:.0f})':>16s}"
        if len(spent) == 2:
            table[name]["ratio"] = round(min(spent[0]) / min(spent[1]), 2)
            line += f"{table[name]['ratio']:>8.2f}"
        print(line)
    reached = all(table[name]["stepladder_minimum"] <= GOAL for name in JUDGED)
    print(f"{' and '.join(JUDGED)} within {GOAL:.0f} microseconds: {'yes' if reached else 'no'}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({
        "device": f"{processor()}, one thread", "command": "OMP_NUM_THREADS=1 python benchmarks/sampler_overhead.py",
        "torch": torch.__version__, "diffusers": diffusers.__version__, "shape": SHAPE, "batch": BATCH,
        "timesteps": T, "steps": S, "rounds": ROUNDS, "unit": "microseconds a step; ratio of the minima",
        "goal": {"rows": JUDGED, "microseconds": GOAL, "reached": reached}, "samplers": table,
    }, indent=1) + "\n")  # fmt: skip


def processor() -> str:
    """The processor's name, where the system says it (Linux)."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
