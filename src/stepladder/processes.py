"""The processes of a training: one on a single device, otherwise one for each rank under ``torchrun``, on one node or several.

These settings of the environment do not change the result, and are not in parameters and keys: see docs/scaling.md.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from stepladder import slots
from stepladder.errors import UserError
from stepladder.slots import Held

STRATEGIES = ("ddp", "fsdp")


@dataclass(frozen=True)
class World:
    """Where a training runs.

    Attributes:
        devices: ranks on this node.
        nodes: their number, ``"2"``, or the smallest and largest number of an elastic training, ``"1:4"``.
        node: number of this node; node 0 owns the training's state, its model and its tracking.
        rendezvous: ``host:port`` on node 0, where the nodes meet.
        restarts: how often the ranks are started again from the last checkpoint when one of them dies.
    """

    devices: int
    nodes: str
    node: int
    rendezvous: str
    restarts: int

    @property
    def elastic(self) -> bool:
        """Whether nodes may join and leave."""
        return ":" in self.nodes

    @property
    def size(self) -> int:
        """The number of ranks; for an elastic training the largest."""
        return self.devices * int(self.nodes.split(":")[-1])


def world() -> World:
    """The settings of the environment; raises ``UserError`` that names an invalid variable."""
    devices = slots.devices()
    nodes = os.environ.get("STEPLADDER_NODES", "1")
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", nodes) or (":" in nodes and int.__gt__(*map(int, nodes.split(":")))):
        raise UserError(f"STEPLADDER_NODES={nodes!r} is neither a number of nodes nor MIN:MAX, such as 2 or 1:4.")
    rendezvous = os.environ.get("STEPLADDER_RENDEZVOUS", "")
    if nodes != "1" and not re.fullmatch(r".+:\d+", rendezvous):
        raise UserError(
            f"STEPLADDER_RENDEZVOUS={rendezvous!r} is not host:port; with STEPLADDER_NODES={nodes} give the address and a "
            "free port of node 0, the same on all nodes."
        )
    most = int(nodes.split(":")[-1])
    node = _number("STEPLADDER_NODE_RANK", "0", f"the number of this node, 0 to {most - 1}", most=most - 1)
    restarts = _number("STEPLADDER_RESTARTS", "3" if ":" in nodes else "0", "a number of restarts, 0 or more")
    if (strategy := os.environ.get("STEPLADDER_STRATEGY", "ddp")) not in STRATEGIES:
        raise UserError(f"STEPLADDER_STRATEGY={strategy!r} is not one of {', '.join(STRATEGIES)}.")
    return World(devices, nodes, node, rendezvous, restarts)


def _number(name: str, default: str, what: str, most: int | None = None) -> int:
    value = os.environ.get(name, default)
    if not value.isdecimal() or (most is not None and int(value) > most):
        raise UserError(f"{name}={value!r} is not {what}.")
    return int(value)


def command(folder: Path, world: World, key: str) -> list[str]:
    """The command that starts this node's ranks on ``folder/spec.json``."""
    worker = ["-m", "stepladder.training.worker", str(folder)]
    if world.size == 1 and not world.restarts:
        return [sys.executable, *worker]
    if world.nodes == "1":
        meeting = ["--standalone"]
    elif world.elastic:
        meeting = [
            "--rdzv-backend=c10d", f"--rdzv-endpoint={world.rendezvous}", f"--rdzv-id={key}",
            f"--rdzv-conf=is_host={int(world.node == 0)}",
        ]  # fmt: skip
    else:  # numbers the ranks by the nodes' own numbers, so that rank 0 is on node 0
        address, port = world.rendezvous.rsplit(":", 1)
        meeting = [f"--node-rank={world.node}", f"--master-addr={address}", f"--master-port={port}"]
    return [
        sys.executable, "-m", "stepladder.launching.ranks", f"--nnodes={world.nodes}", f"--nproc-per-node={world.devices}",
        f"--max-restarts={world.restarts}", *meeting, *worker,
    ]  # fmt: skip


def run(command: list[str], held: Held) -> int:
    """Run ``command`` in this process group and in the slots ``held``, and pass on signals to end. Returns its exit code, or 128
    plus the number of the signal that ended it.
    """
    # Threads that soon stop spinning: on a busy machine waiting ones would else slow the working ones down many times.
    defaults = {"GOMP_SPINCOUNT": "1000", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
    # A store anew whenever ranks meet: in one kept by torchrun they find the addresses of dead ranks, and nodes that count
    # restarts differently (one lost a rank, the other only noticed) wait for each other for ever.
    defaults["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    child = subprocess.Popen(command, env=defaults | os.environ | held.environment, pass_fds=held.handles)
    received: list[int] = []

    def pass_on(number: int, _: object) -> None:
        received.append(number)
        child.send_signal(number)

    before = {
        number: signal.signal(number, pass_on)
        for number in (signal.SIGTERM, signal.SIGINT)
        if threading.current_thread() is threading.main_thread()
    }
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code and received:
        return 128 + received[0]
    return 128 - code if code < 0 else code


def die_with_parent() -> None:
    """Let this process be killed with its parent, on Linux: otherwise ranks of a killed launcher would go on writing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
