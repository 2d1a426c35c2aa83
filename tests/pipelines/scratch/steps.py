"""``python steps.py STAGE OUT [T]``: writes invented results into OUT.

The environment makes it misbehave: ``SCRATCH_REFUSE=STAGE:T`` refuses its input as the command line does, ``SCRATCH_BREAK=STAGE:T``
fails at the first attempt, ``SCRATCH_SLOW=STAGE:T`` sleeps for a minute,
``SCRATCH_SECONDS`` is how long the others take, those of ``SCRATCH_TOGETHER=STAGE:T,STAGE:T`` until all have started. Each start and end is a line of ``SCRATCH_LOG``.
"""

import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import yaml


def note(event: str) -> None:
    with Path(os.environ["SCRATCH_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"event": event, "stage": me, "time": time.time(), "pid": os.getpid()}) + "\n")


def grey_picture(file: Path, side: int = 8) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes((y * side + x) * 3 % 256 for x in range(side)) for y in range(side))
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def point(timesteps: int, steps: int) -> dict[str, float]:
    frechet = 1 + 10 / steps + 3 / timesteps
    return {
        "timesteps": timesteps, "sampling_steps": steps, "images": 100, "milliseconds_per_image": 0.5 * steps,
        "frechet": frechet, "frechet_low": 0.9 * frechet, "frechet_high": 1.1 * frechet,
        "kid": 0.01, "kid_low": 0.009, "kid_high": 0.011,
        "accuracy": 0.97, "accuracy_low": 0.95, "accuracy_high": 0.99,
    }  # fmt: skip


kind, out = sys.argv[1], Path(sys.argv[2])
timesteps = int(sys.argv[3]) if len(sys.argv) > 3 else None
me = f"{kind}:{timesteps}" if timesteps else kind
again = me in Path(os.environ["SCRATCH_LOG"]).read_text() if Path(os.environ["SCRATCH_LOG"]).exists() else False
note("start")
if os.environ.get("SCRATCH_REFUSE") == me:
    print(f"diffusion.unet.heads=3, given for {me}, does not divide 32; take 4.", file=sys.stderr)
    sys.exit(2)
if os.environ.get("SCRATCH_BREAK") == me and not again:
    sys.exit("RuntimeError: the device went away")
print(f"{me}: step 1 of 1", flush=True)
together = os.environ.get("SCRATCH_TOGETHER", "").split(",")
deadline = time.monotonic() + 60
while me in together and time.monotonic() < deadline:
    log = Path(os.environ["SCRATCH_LOG"]).read_text()
    if all(f'"start", "stage": "{stage}"' in log for stage in together):
        break
    time.sleep(0.1)
time.sleep(60 if os.environ.get("SCRATCH_SLOW") == me else float(os.environ.get("SCRATCH_SECONDS", "0.1")))
params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
if kind == "report":
    judged = ", ".join(sorted(folder.name.replace("T", "T=") for folder in Path("reports/diffusion").glob("T*")))
    out.write_text(f"<h1>the report of {params['sweep']['timesteps']} with {judged}</h1>")
    note("end")
    sys.exit()
out.mkdir(parents=True, exist_ok=True)
if kind == "compare":
    judged = [json.loads(file.read_text()) for file in Path("reports/diffusion").glob("*/metrics.json")]
    best = min((metrics["best"] for metrics in judged), key=lambda point: point["frechet"])
    Path("reports/metrics.json").write_text(json.dumps({"timesteps": best["timesteps"], "frechet": best["frechet"]}))
if kind == "evaluate-diffusion":
    points = [point(timesteps, steps) for steps in params["sweep"]["sampling_steps"] if steps <= timesteps]
    metrics = {"timesteps": timesteps, "floor": {"frechet": 1.0, "kid": 0.0}, "best": points[-1], "points": points}
    (out / "metrics.json").write_text(json.dumps(metrics))
    for p in points:
        grey_picture(out / f"samples-S{p['sampling_steps']}.png")
else:
    run = {"run_id": me.replace(":", "") * 2, "experiment_id": "1", "figures": {"seconds": 1.0}}
    known = {"key": me.replace(":", ""), "figures": {"validation/loss": 0.1}, "seed": params["seed"]}
    (out / "training.json").write_text(json.dumps(known))
    told = Path(os.environ.get("DVC_ROOT", "."), ".history", known["key"])
    told.mkdir(parents=True, exist_ok=True)
    (told / "run.json").write_text(json.dumps(run))
note("end")
