"""The stage ``compare``, without its command."""

from pathlib import Path
from typing import Any

from stepladder.params import Params
from stepladder.reporting import comparison, figures


def compare(params: Params, models: Path, reports: Path, **options: Any) -> dict[str, Any]:
    found = comparison.compare(params, models, reports, **options)
    figures.plot_all(found, params, models, reports)
    return found
