"""``python -m tests.tracking.eight FOLDER``: eight processes open runs at once in a project without a store."""

import json
import multiprocessing
import os
import sys

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  once, not eight times

from stepladder.tracking import runs
from tests.tracking import made

CONTEXT = multiprocessing.get_context("fork")
BEGIN = CONTEXT.Barrier(8)


def train(number: int) -> None:
    BEGIN.wait(60)
    run = runs.open_run(made.header(key=f"key{number}", timesteps=number, run_name=f"T={number}"))
    runs.close_run(run, "FINISHED")
    print(json.dumps(run) + "\n", end="", flush=True)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    processes = [CONTEXT.Process(target=train, args=(number,)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    sys.exit(max(process.exitcode or 0 for process in processes))
