"""``stepladder serve`` says an address that can be opened."""

import re
import socket
from pathlib import Path

import pytest

from stepladder.serving.run import serve
from tests.tracking import made


class Opened(Exception):
    pass


def test_whoever_opens_the_address_at_once_is_not_refused(tmp_path: Path) -> None:
    made.diffusion(tmp_path / "T20")

    def said(line: str) -> None:
        host, port = re.findall(r"http://([\d.]+):(\d+)", line)[0]
        with socket.create_connection((host, int(port)), timeout=10):
            raise Opened

    with pytest.raises(Opened):
        serve([str(tmp_path / "T20")], tmp_path, "127.0.0.1", 0, said)
