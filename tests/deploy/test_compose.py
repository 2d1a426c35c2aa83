"""deploy/compose.yaml and what belongs to it: read, not run, since that needs Docker."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"])


def test_ports_are_on_loopback_unless_told_otherwise(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in ports)


def test_images_are_pinned(services):
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.search(r":[\w.-]*\d[\w.-]*$", image) and "latest" not in image for image in images)


def test_secrets_come_from_the_env_file_which_has_none_as_committed(services):
    asked = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert asked <= set(example)
    assert not [name for name, value in example.items() if value and re.search("PASSWORD|SECRET|AUTH$", name)]
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?\}", value), name


def test_whoever_needs_a_service_waits_until_it_is_well(services):
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            once = services[name].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy")
            assert once or "healthcheck" in services[name]
