"""When, where and how many at once: Prefect flows over the stages that ``dvc.yaml`` declares."""

import sys
from importlib.util import find_spec

_lacking = [name for name in ("prefect", "dvc", "psutil") if find_spec(name) is None]
if _lacking:
    print(
        f"The flows need {', '.join(_lacking)}; `pip install 'stepladder[pipeline]'` brings what they need.",
        file=sys.stderr,
    )
    raise SystemExit(2)
