"""``torchrun``, but a failure prints one line and gives the failed rank's exit code, without the launcher's traceback."""

from __future__ import annotations

import logging
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError

from stepladder.processes import die_with_parent


def main(arguments: list[str]) -> int:
    """Run ``torchrun ARGUMENTS``; returns 0, the first failed rank's exit code, or 128 and the signal that ended it."""
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run.main(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        print(f"rank {rank} ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}", file=sys.stderr)
        return 128 - code if code < 0 else code
    except RendezvousConnectionError:
        print("node 0, where the nodes meet, is gone: it has finished, or failed as it says", file=sys.stderr)
        return 1
    except SignalException as error:
        return 128 + error.sigval
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(sys.argv[1:]))
