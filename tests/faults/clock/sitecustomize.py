"""On the path of a process: a wall clock that jumps, by a day back or forth at every call; the monotonic one does not."""

import itertools
import time

_true, _jumps = time.time, itertools.cycle([0, -86400, 86400, -3600])
time.time = lambda: _true() + next(_jumps)
