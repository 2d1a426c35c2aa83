"""What the networks of ``unet_step.py`` learn in equal steps: eps at T=1000, cosine, mean squared error, on prepared pictures.

    OMP_NUM_THREADS=1 python benchmarks/unet_quality.py --data data/images   # 1x32x32, such as the preset fashion-mnist at images.size=32

All see the same pictures, steps and noise, under Adam with warm-up and cosine decay and clipped gradients. The validation loss is
that of 1,024 held-out pictures at evenly spread steps, with the same noise for all.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from unet_step import OURS, SHAPE, network, predicted

from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion.processes.schedules import schedule

RESULT = Path(__file__).parent / "results" / "unet_quality.json"
SIDES = (*OURS, "diffusers, time added")
HELD_OUT, TIMESTEPS, WARMUP = 1024, 1000, 30


def noisy(images: Tensor, t: Tensor, eps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    signal = alphas_cumprod[t][:, None, None, None]
    return signal.sqrt() * (images.float() / 127.5 - 1) + (1 - signal).sqrt() * eps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (ImageArrays.open(args.data, split) for split in ("train", "test"))
    assert tuple(train.card["shape"]) == SHAPE, f"pictures of {train.card['shape']}; prepare them at {SHAPE}"
    alphas_cumprod = torch.tensor(schedule("cosine", TIMESTEPS).alphas_cumprod, dtype=torch.float32)
    held_out = torch.from_numpy(test.images[:HELD_OUT].copy())
    when = torch.linspace(0, TIMESTEPS - 1, HELD_OUT).long()
    fixed = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(1))
    losses: dict[str, list[float]] = {side: [] for side in SIDES}
    seconds = dict.fromkeys(SIDES, 0.0)
    for seed in range(args.seeds):
        for side in SIDES:
            torch.manual_seed(seed)
            model = network(side)
            optimizer = torch.optim.Adam(model.parameters(), lr=args.rate, fused=True)
            rate = torch.optim.lr_scheduler.LambdaLR(
                optimizer,
                lambda k: min((k + 1) / WARMUP, 1) * 0.5 * (1 + math.cos(math.pi * k / args.steps)),
            )
            draws, rows = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
            start = time.process_time()
            for k in range(args.steps):
                images = torch.from_numpy(train.images[np.sort(rows.integers(len(train.images), size=args.batch))])
                t = torch.randint(TIMESTEPS, (args.batch,), generator=draws)
                eps = torch.randn(images.shape, generator=draws)
                loss = F.mse_loss(predicted(side, model, noisy(images, t, eps, alphas_cumprod), t), eps)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                rate.step()
                optimizer.zero_grad()
                if k % 50 == 0:
                    print(f"{side}, seed {seed}: step {k}, loss {loss.item():.4f}", flush=True)
            seconds[side] += time.process_time() - start
            model.eval()
            with torch.inference_mode():
                squares = [
                    F.mse_loss(predicted(side, model, noisy(x, t, eps, alphas_cumprod), t), eps, reduction="sum")
                    for x, t, eps in zip(held_out.split(64), when.split(64), fixed.split(64), strict=True)
                ]
            losses[side].append(float(sum(squares)) / fixed.numel())
            print(f"{side}, seed {seed}: validation loss {losses[side][-1]:.5f}, {seconds[side]:.0f} CPU s", flush=True)
    RESULT.write_text(json.dumps({
        "device": f"{platform.machine()}, one thread", "torch": torch.__version__, "data": train.card["name"],
        "command": "OMP_NUM_THREADS=1 python benchmarks/unet_quality.py --data data/images "
        f"--steps {args.steps} --batch {args.batch} --rate {args.rate} --seeds {args.seeds}",
        "objective": "eps, cosine, T=1000, mean squared error", "steps": args.steps, "batch": args.batch,
        "sides": {side: {
            "parameters": sum(p.numel() for p in network(side).parameters()), "validation_losses": losses[side],
            "cpu_seconds": seconds[side] / args.seeds,
        } for side in SIDES},
    }, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
