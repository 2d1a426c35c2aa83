"""Training on more devices: what is measured, and what a model of communication against computation predicts.

    python benchmarks/scaling.py measure --devices 1 2 [--strategies ddp fsdp] [--preset cifar10] [--shape 3,32,32]
    python benchmarks/scaling.py predict

``measure`` starts the real worker, as ``stepladder train`` does, on prepared data (``--data``) or on random pictures of a
shape, and reads seconds a step off its journal, after warm-up. It needs torch, Lightning, numpy, pydantic, PyYAML and
safetensors, and no DVC, Prefect, MLflow or network. On the processor it also says the processor seconds of a step over all
ranks, by the difference of a long and a short run: on a busy machine those are what can be compared.

``predict`` reads what was measured on one device and says what more would do, by ``step``. See docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "scaling.json"


@dataclass(frozen=True)
class Link:
    """What connects the devices; ``bandwidth``: bytes a second that one device sends, ``latency``: seconds a message."""

    name: str
    bandwidth: float
    latency: float


NVLINK = Link("NVLink 4", 0.8 * 450e9, 5e-6)
"""H100 SXM: 900 GB/s in both directions together (NVIDIA's data sheet), of which NCCL's rings reach about four fifths."""
INFINIBAND = Link("InfiniBand NDR", 0.8 * 50e9, 10e-6)
"""DGX H100: one adapter of 400 Gbit/s for each GPU (NVIDIA's data sheet of the DGX H100)."""
ETHERNET = Link("Ethernet 25 Gbit/s", 0.8 * 25e9 / 8, 50e-6)
"""One for each node, as in a common cluster or cloud without RDMA."""


def all_reduce(ranks: int, size: float, link: Link) -> float:
    """Seconds to sum ``size`` bytes over ``ranks`` in a ring: 2 (n - 1) / n size / bandwidth + 2 (n - 1) latency.

    Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    return 2 * (ranks - 1) * (size / ranks / link.bandwidth + link.latency)


def sharded(ranks: int, size: float, link: Link) -> float:
    """Seconds of FSDP's three passes: parameters gathered in the forward and in the backward, gradients scattered."""
    return 3 * (ranks - 1) * (size / ranks / link.bandwidth + link.latency)


@dataclass(frozen=True)
class Step:
    """A training step as predicted, in seconds."""

    compute: float
    communication: float
    exposed: float

    @property
    def seconds(self) -> float:
        return self.compute + self.exposed


def step(compute: float, communication: float, *, overlap: float = 0.8, backward: float = 2 / 3) -> Step:
    """A step of ``compute`` seconds on each rank that also communicates for so many.

    Gradients are sent in buckets while the backward, ``backward`` of the computation, goes on: ``overlap`` of that time hides
    communication (0: none; the last bucket, and interference with the computation, never hide). The rest is exposed.
    """
    return Step(compute, communication, max(0.0, communication - overlap * backward * compute))


def train(args: argparse.Namespace, devices: int, strategy: str, steps: int) -> tuple[float, float, int]:
    """Seconds a step, processor seconds in all, and parameters, of one run of the real worker."""
    from stepladder import processes
    from stepladder.params import load
    from stepladder.slots import Held
    from stepladder.training.families import FAMILIES

    with tempfile.TemporaryDirectory(prefix="scaling-") as temporary:
        folder = Path(temporary)
        section = f"{args.family}.training"
        length = [f"{section}.steps={steps}", f"{section}.validate_every={steps}", f"{section}.warmup_steps=0"]
        params = load(preset=args.preset, overrides=[*args.set, *length])
        data = made(args, folder / "data", params) if args.shape else Path(args.data).resolve()
        spec = {
            "family": args.family, "name": f"{devices} {strategy}", "params": params.model_dump(mode="json"),
            "timesteps": args.timesteps if args.family == "diffusion" else None,
            "steps": steps, "data": str(data), "header": {},
        }  # fmt: skip
        (folder / "spec.json").write_text(json.dumps(spec))
        os.environ |= {"STEPLADDER_DEVICES": str(devices), "STEPLADDER_STRATEGY": strategy}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = processes.run(processes.command(folder, processes.world(), "scaling"), Held((), (), {}))
        if code:
            sys.exit(f"the training on {devices} devices ended with exit code {code}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        seen = [(line["step"], line["time"]) for line in lines if "train/loss" in line.get("metrics", {})]
        late = [point for point in seen if point[0] >= steps / 3]
        figures = json.loads((folder / "model" / "figures.json").read_text())
        args.batch = FAMILIES[args.family].training(params).batch_size
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0]), used, int(figures["parameters"])


def made(args: argparse.Namespace, folder: Path, params: Any) -> Path:
    """Random pictures in prepared form: what they show does not change the speed."""
    import numpy as np

    from stepladder.data.card import prepared

    shape = [int(side) for side in args.shape.split(",")]
    counts = {"train": max(2000, params.diffusion.training.batch_size), "test": 100}
    card = {
        "name": "random",
        "source": "random",
        "shape": shape,
        "classes": [str(i) for i in range(10)],
        "counts": counts,
    }
    random = np.random.default_rng(0)
    with prepared(folder, card) as fresh:
        for split, count in counts.items():
            np.save(fresh / f"{split}_images.npy", random.integers(0, 256, (count, *shape), dtype=np.uint8))
            np.save(fresh / f"{split}_labels.npy", random.integers(0, 10, count))
    return folder


def measure(args: argparse.Namespace) -> None:
    import torch

    gpu = torch.cuda.is_available()
    runs = []
    for devices in args.devices:
        for strategy in args.strategies if devices > 1 else ["ddp"]:
            seconds, used, parameters = train(args, devices, strategy, args.steps)
            run = {"devices": devices, "strategy": strategy if devices > 1 else "one device", "step_seconds": seconds}
            run["per_second"] = args.batch / seconds
            if not gpu:
                few = max(20, args.steps // 4)
                run["processor_seconds_a_step"] = (used - train(args, devices, strategy, few)[1]) / (args.steps - few)
            runs.append(run)
            print(json.dumps(run), flush=True)
    found = {
        "device": torch.cuda.get_device_name() if gpu else f"CPU, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
        "family": args.family,
        "preset": args.preset or "default",
        "set": args.set,
        "pictures": args.shape or args.data,
        "parameters": parameters,
        "global_batch": args.batch,
        "unit": "pictures" if args.family == "diffusion" else "target tokens",
        "steps": args.steps,
        "runs": runs,
    }
    everything = json.loads(args.out.read_text()) if args.out.exists() else {"measured": []}
    everything["measured"].append(found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(everything, indent=2) + "\n")


def predict(args: argparse.Namespace) -> None:
    """Prints, and adds to the results, steps of several GPUs and nodes for given, or measured, steps of one device."""
    everything = json.loads(args.out.read_text()) if args.out.exists() else {"measured": []}
    cases = [
        (f"{m['family']} {m['preset']}, {m['device']}", m["parameters"], run["step_seconds"])
        for m in everything["measured"]
        for run in m["runs"]
        if run["devices"] == 1 and not m["device"].startswith("CPU")
    ]
    if args.parameters:
        cases = [("given", args.parameters, args.step_seconds)]
    nvlink, fabric, ethernet = (
        replace(link, bandwidth=link.bandwidth * args.bandwidth) for link in (NVLINK, INFINIBAND, ETHERNET)
    )
    predicted = []
    for name, parameters, compute in cases:
        size = args.bytes * parameters
        for what, gpus, link in (
            ("8 GPUs of a node", 8, nvlink),
            ("8 nodes of 8 GPUs, InfiniBand", 64, fabric),
            ("8 nodes of 1 GPU, Ethernet", 8, ethernet),
        ):
            for scheme, seconds in (("ddp", all_reduce(gpus, size, link)), ("fsdp", sharded(gpus, size, link))):
                # the batch of each device as on one device: the global batch grows with the devices
                weak = step(compute, seconds, overlap=args.overlap)
                row = {"case": name, "on": what, "scheme": scheme, "link": asdict(link), "gpus": gpus} | asdict(weak)
                row["efficiency"] = compute / weak.seconds
                # the global batch as on one device: the computation is divided, the communication is not
                strong = step(compute / gpus, seconds, overlap=args.overlap)
                row["speedup_same_global_batch"] = compute / strong.seconds
                predicted.append(row)
                print(f"{name:32.32s} {what:30s} {scheme:5s} {1000 * seconds:8.2f} ms sent, {100 * row['efficiency']:5.1f} % "
                      f"efficient, same global batch: {row['speedup_same_global_batch']:5.1f} times as fast")  # fmt: skip
    if cases and not args.parameters:
        everything["predicted"] = {"overlap": args.overlap, "bytes_a_parameter": args.bytes, "rows": predicted}
        args.out.write_text(json.dumps(everything, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    verbs = parser.add_subparsers(required=True)
    added = verbs.add_parser("measure")
    added.set_defaults(function=measure)
    added.add_argument("--family", choices=["diffusion", "transformer"], default="diffusion")
    added.add_argument("--timesteps", type=int, default=1000)
    added.add_argument("--preset", default="")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE")
    added.add_argument("--data", default="data/images", help="prepared data")
    added.add_argument("--shape", default="", metavar="C,H,W", help="of random pictures, instead of prepared data")
    added.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    added.add_argument("--strategies", nargs="+", choices=["ddp", "fsdp"], default=["ddp"])
    added.add_argument("--steps", type=int, default=150)
    added = verbs.add_parser("predict")
    added.set_defaults(function=predict)
    added.add_argument("--parameters", type=int, default=0, help="default: of what was measured on a GPU")
    added.add_argument("--step-seconds", type=float, default=0.1, help="of one device")
    added.add_argument("--bytes", type=float, default=4, help="sent for each parameter: 4, gradients of fp32")
    added.add_argument("--overlap", type=float, default=0.8)
    added.add_argument("--bandwidth", type=float, default=1.0, help="factor on all bandwidths")
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
