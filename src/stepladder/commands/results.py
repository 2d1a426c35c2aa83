"""Compare, register and report results: the last stages of ``dvc.yaml``."""

from __future__ import annotations

import argparse

from stepladder.commands import Verb
from stepladder.commands.evaluation import track
from stepladder.commands.places import MODELS, REPORTS


def add(verb: Verb) -> None:
    """Add the verbs of results to the command line: ``compare``, ``register`` and ``report``."""
    verb("compare", compare, "bring all evaluations together")
    verb("register", register, "put the best models in the registry")
    verb("report", report, "write reports/index.html")


def compare(args: argparse.Namespace) -> int:
    """Bring all evaluations together in ``reports/``, draw the figures and record them in the tracking store. Returns 0.

    Raises ``UserError`` as ``reporting.comparison.compare``.
    """
    from stepladder.params import load
    from stepladder.reporting import figures
    from stepladder.reporting.comparison import compare
    from stepladder.tracking import evaluations

    params = load()
    figures.plot_all(compare(params, MODELS, REPORTS), params, MODELS, REPORTS)
    track(lambda: evaluations.record_comparison(MODELS, REPORTS))
    return 0


def register(args: argparse.Namespace) -> int:
    """Register the best models, and print a line for each with its aliases and the gate's verdict. Returns 0.

    Raises ``UserError`` where the tracking store does not answer, or as ``tracking.registry.register``.
    """
    from stepladder.commands.present import Present
    from stepladder.params import load
    from stepladder.tracking import health, registry

    health.check()
    params = load()
    for model in (m for m in registry.register(params, MODELS, REPORTS, Present(params))["models"] if "version" in m):
        print(f"{model['name']} version {model['version']} @{', @'.join(model['aliases'])}: {model['why']}")
    return 0


def report(args: argparse.Namespace) -> int:
    """Write ``reports/index.html`` of the last comparison, and print its path. Returns 0.

    Raises ``UserError`` as ``reporting.report.write``.
    """
    from stepladder.params import load
    from stepladder.reporting.report import write

    print(f"report: {write(REPORTS, MODELS, load())}")
    return 0
