"""The tests' own device slots: whoever else works on this machine neither waits for them nor holds them up."""

import os
import tempfile

_slots = tempfile.TemporaryDirectory(prefix="slots-")
os.environ["STEPLADDER_SLOTS_FOLDER"] = _slots.name
os.environ.pop("STEPLADDER_HOLDS", None)
