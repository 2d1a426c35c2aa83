"""Quality at equal training time on one GPU: Stepladder's training against one with diffusers' own parts.

Both train a class-conditional UNet of the same widths, blocks and attention on the same prepared pictures, for the same
seconds, with the same batch, bf16, channels_last and a compiled network, each in a process of its own; both are judged by
the same feature network on the same number of pictures. Stepladder runs a preset through its worker. The peer is diffusers'
recipe for unconditional training: ``UNet2DModel``, ``DDPMScheduler`` (linear, eps, T=1000), AdamW with warm-up and cosine
decay, ``EMAModel`` with warm-up; sampled by its DDIM and DPM-Solver++ schedulers with their defaults.

    python benchmarks/equal_time.py speed   --preset cifar10 --out speed.json
    python benchmarks/equal_time.py train   --preset cifar10 --data data/images --side ours  --steps 20000 --out ours
    python benchmarks/equal_time.py train   --preset cifar10 --data data/images --side peer  --steps 16000 --out peer
    python benchmarks/equal_time.py judge   --preset cifar10 --data data/images --feature-net models/feature-net \
        --ours ours --peer peer --out result.json

``speed`` measures images a second of both in alternation, which says how many steps fit the seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.diffusion.networks.backbones import build
from stepladder.params import Params, load

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TIMESTEPS = 1000
PEER_RATE, PEER_WARMUP = 2e-4, 500


def our_network(params: Params, shape: list[int], classes: int) -> torch.nn.Module:
    return build({"backbone": "unet", "shape": shape, "classes": classes} | params.diffusion.unet.model_dump())


def peer_network(params: Params, shape: list[int], classes: int) -> torch.nn.Module:
    """diffusers' UNet of the same channels, blocks and attention, one class number kept for none."""
    from diffusers import UNet2DModel

    u = params.diffusion.unet
    sides = [shape[1] >> level for level in range(len(u.channel_mult))]
    seen = [side in u.attention_resolutions for side in sides]
    return UNet2DModel(
        sample_size=shape[1],
        in_channels=shape[0],
        out_channels=shape[0],
        block_out_channels=tuple(u.channels * m for m in u.channel_mult),
        layers_per_block=u.blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in seen),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(seen)),
        attention_head_dim=u.channels * u.channel_mult[-1] // u.heads,
        num_class_embeds=classes + 1,
        dropout=u.dropout,
    )


def speed(args: argparse.Namespace) -> None:
    """Images a second of a training step (forward, backward, clip, AdamW), both sides in alternation."""
    params = load(preset=args.preset)
    shape, classes, batch = json.loads(args.shape), 10, params.diffusion.training.batch_size
    steps: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for name in ("ours", "peer"):
        network = (our_network if name == "ours" else peer_network)(params, shape, classes)
        network = network.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
        counts[name] = sum(p.numel() for p in network.parameters())
        for compiled in (False, True) if args.compile else (False,):
            steps[f"{name}, compiled" if compiled else name] = _step(network, name, shape, classes, batch, compiled)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(args.rounds + 1):
        for name, step in steps.items():
            repeats = 3 if round_ == 0 else 20  # the first round compiles and warms up
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(repeats):
                step()
            torch.cuda.synchronize()
            if round_:
                seconds[name].append((time.perf_counter() - start) / repeats)
    _write(args.out, {
        "device": torch.cuda.get_device_name(), "torch": torch.__version__, "command": " ".join(sys.argv), "shape": shape,
        "batch": batch, "parameters": counts,
        "images_per_second": {name: batch / statistics.median(values) for name, values in seconds.items()},
        "seconds_per_step": dict(seconds),
    })  # fmt: skip


def _step(network: Any, name: str, shape: list[int], classes: int, batch: int, compiled: bool) -> Any:
    forward = torch.compile(network) if compiled else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x = torch.randn(batch, *shape, device=DEVICE).to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch,), device=DEVICE)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            if name == "ours":
                output = forward(x, torch.rand(batch, device=DEVICE), {"labels": labels})
            else:
                output = forward(x, torch.randint(TIMESTEPS, (batch,), device=DEVICE), class_labels=labels).sample
        F.mse_loss(output.float(), x).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def train(args: argparse.Namespace) -> None:
    params = load(preset=args.preset, overrides=args.set)
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    if args.side == "ours":  # in bf16 where the GPU has it; STEPLADDER_COMPILE=1 compiles
        changed = params.diffusion.training.model_copy(update={"steps": args.steps, "validate_every": args.steps})
        params = params.model_copy(update={"diffusion": params.diffusion.model_copy(update={"training": changed})})
        spec = {
            "family": "diffusion", "name": args.preset, "params": params.model_dump(mode="json"),
            "timesteps": args.timesteps, "data": str(args.data.resolve()), "header": {},
        }  # fmt: skip
        (args.out / "spec.json").write_text(json.dumps(spec))
        subprocess.run([sys.executable, "-m", "stepladder.training.worker", args.out], check=True)
    else:
        _train_peer(params, args)
    _write(args.out / "time.json", {"seconds": time.perf_counter() - start, "steps": args.steps})


def _train_peer(params: Params, args: argparse.Namespace) -> None:
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    arrays = ImageArrays.open(args.data, "train")
    shape, classes = arrays.card["shape"], len(arrays.card["classes"])
    images = torch.from_numpy(arrays.images.copy()).to(DEVICE)
    labels = torch.from_numpy(arrays.labels).to(DEVICE)
    batch = params.diffusion.training.batch_size
    network = peer_network(params, shape, classes).to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(network) if DEVICE.type == "cuda" else network
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEER_RATE, weight_decay=1e-6, fused=True)
    rates = get_cosine_schedule_with_warmup(optimizer, PEER_WARMUP, args.steps)
    scheduler = DDPMScheduler(TIMESTEPS)
    shuffle = Shuffle(len(labels), batch, 0)
    for k in range(args.steps):
        rows = torch.from_numpy(shuffle.rows(k)).to(DEVICE)
        x_0 = images[rows].float() / 127.5 - 1
        if params.diffusion.flip:
            x_0 = torch.where(torch.rand(len(x_0), 1, 1, 1, device=DEVICE) < 0.5, x_0.flip(3), x_0)
        eps = torch.randn_like(x_0)
        t = torch.randint(TIMESTEPS, (batch,), device=DEVICE)
        hidden = torch.rand(batch, device=DEVICE) < params.diffusion.label_dropout
        x = scheduler.add_noise(x_0, eps, t).contiguous(memory_format=torch.channels_last)  # type: ignore[arg-type]
        with torch.autocast(DEVICE.type, torch.bfloat16):
            output = forward(x, t, class_labels=torch.where(hidden, classes, labels[rows])).sample
        loss = F.mse_loss(output.float(), eps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        average.step(network.parameters())
        if k % 500 == 0:
            print(f"peer {args.preset}: {k} of {args.steps}, loss {loss.item():.4f}", flush=True)
    average.copy_to(network.parameters())
    save_file({name: w.contiguous().cpu() for name, w in network.state_dict().items()}, args.out / "model.safetensors")


@torch.inference_mode()
def draw_peer(network: Any, scheduler: Any, labels: torch.Tensor, shape: list[int], steps: int) -> torch.Tensor:
    pictures: list[torch.Tensor] = []
    for part in labels.to(DEVICE).split(1000):
        scheduler.set_timesteps(steps)  # it counts the steps that it has taken
        x = torch.randn(len(part), *shape, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(len(pictures)))
        for t in scheduler.timesteps:
            with torch.autocast(DEVICE.type, torch.bfloat16):
                output = network(x, t.to(DEVICE), class_labels=part).sample.float()
            x = scheduler.step(output, t, x).prev_sample
        pictures.append(x.clamp(-1, 1).cpu())
    return torch.cat(pictures)


def judge(args: argparse.Namespace) -> None:
    """Both models at several S, by the same feature network; pictures rounded to uint8 as the real ones are."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    from stepladder.data.grid import grid, scaled, to_uint8
    from stepladder.diffusion.sampling.drawing import draw
    from stepladder.diffusion.sampling.drawing import load as load_model
    from stepladder.evaluation.pictures import held_out
    from stepladder.evaluation.pictures.density_coverage import density_coverage
    from stepladder.evaluation.pictures.features import judge as features_of
    from stepladder.evaluation.pictures.frechet import frechet_distance
    from stepladder.evaluation.pictures.precision_recall import precision_recall
    from stepladder.params import Sampling

    params = load(preset=args.preset)
    train, test = ImageArrays.open(args.data, "train"), ImageArrays.open(args.data, "test")
    see, count = features_of(args.feature_net), args.samples
    real, verdicts = see(scaled(test.images))
    numbers = held_out.rows(test, count)
    labels = torch.from_numpy(test.labels[numbers])
    rows: list[dict[str, Any]] = []

    def figures(pictures: torch.Tensor) -> dict[str, float]:
        features, seen = see(pictures)
        precision, recall = precision_recall(features, real)
        density, coverage = density_coverage(features, real)
        return {
            "frechet": frechet_distance(features, real), "precision": precision, "recall": recall, "density": density,
            "coverage": coverage, "accuracy": float((seen == labels.numpy()).mean()),
        }  # fmt: skip

    def add(side: str, sampler: str, steps: int, pictures: torch.Tensor, seconds: float) -> None:
        row = {"side": side, "sampler": sampler, "sampling_steps": steps} | figures(scaled(to_uint8(pictures)))
        rows.append(row | {"milliseconds_per_image": 1000 * seconds / count})
        print(side, sampler, steps, f"Frechet {row['frechet']:.4g}, accuracy {row['accuracy']:.3f}", flush=True)
        if steps == 20 and sampler == "dpmpp_2m":
            grid(pictures[:80], columns=10).save(args.out.with_name(f"{args.preset}-{side}.png"))

    chosen = np.sort(np.random.default_rng(0).permutation(len(train.labels))[:count])
    floor = figures(scaled(train.images[chosen])) | {"accuracy": float((verdicts == test.labels).mean())}
    print("real training pictures", floor, flush=True)
    model, config = load_model(args.ours / "model")
    model.to(DEVICE)
    for sampler in ("dpmpp_2m", "ancestral"):
        for steps in args.sampling_steps:
            start = time.perf_counter()
            with torch.autocast(DEVICE.type, torch.bfloat16):
                sampling = Sampling(sampler=sampler, spacing="log_snr" if sampler == "dpmpp_2m" else "trailing")
                pictures = draw(model, config, {"labels": labels}, steps, sampling, batch_size=1000)
            add("ours", sampler, steps, pictures, time.perf_counter() - start)
    network = peer_network(params, train.card["shape"], len(train.card["classes"]))
    network.load_state_dict(load_file(args.peer / "model.safetensors"))
    network.to(DEVICE, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for name, scheduler in (("dpmpp_2m", DPMSolverMultistepScheduler(TIMESTEPS)), ("ddim", DDIMScheduler(TIMESTEPS))):
        for steps in args.sampling_steps:
            start = time.perf_counter()
            pictures = draw_peer(network, scheduler, labels, train.card["shape"], steps)
            add("peer", name, steps, pictures, time.perf_counter() - start)
    _write(args.out, {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.processor(),
        "torch": torch.__version__, "command": " ".join(sys.argv), "data": test.card["name"],
        "note": test.card.get("note", ""), "features": "the data's own feature network", "samples": count,
        "training": {s: json.loads((f / "time.json").read_text()) for s, f in (("ours", args.ours), ("peer", args.peer))},
        "real_training_pictures": floor, "points": rows,
    })  # fmt: skip


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(required=True)
    for function in (speed, train, judge):
        verb = verbs.add_parser(function.__name__)
        verb.set_defaults(function=function)
        verb.add_argument("--preset", required=True)
        verb.add_argument("--out", type=Path, required=True)
        if function is not speed:
            verb.add_argument("--data", type=Path, required=True, help="prepared pictures")
    verbs.choices["speed"].add_argument("--shape", default="[3, 32, 32]")
    verbs.choices["speed"].add_argument("--rounds", type=int, default=8)
    verbs.choices["speed"].add_argument(
        "--compile", action="store_true", help="compiled networks as well: minutes more"
    )
    verbs.choices["train"].add_argument("--side", choices=["ours", "peer"], required=True)
    verbs.choices["train"].add_argument("--steps", type=int, required=True)
    verbs.choices["train"].add_argument("--timesteps", type=int, default=TIMESTEPS)
    verbs.choices["train"].add_argument("-S", "--set", action="append", default=[])
    for side in ("ours", "peer"):
        verbs.choices["judge"].add_argument(f"--{side}", type=Path, required=True)
    verbs.choices["judge"].add_argument("--samples", type=int, default=5000)
    verbs.choices["judge"].add_argument("--feature-net", type=Path, required=True)
    verbs.choices["judge"].add_argument("--sampling-steps", type=int, nargs="+", default=[10, 20, 50])
    args = top.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
