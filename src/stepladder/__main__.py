"""``python -m stepladder``: the command line."""

import sys

from stepladder.cli import main

sys.exit(main())
