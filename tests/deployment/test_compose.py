"""docker-compose.yml: the Compose specification's schema, and what the file refers to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Command
from tests.deployment.names import check_command, unknown_variables


@pytest.fixture
def compose(deployed: Path) -> dict[str, Any]:
    return yaml.safe_load((deployed / "docker-compose.yml").read_text())


def test_it_is_valid(deployed: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="pip install 'crawlo_scrapy[test]'")
    words = ["--builtin-schema", "vendor.compose-spec", deployed / "docker-compose.yml"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_services_refer_to_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        # Docker takes no capitals.
        assert re.fullmatch(r"[a-z0-9-]+(:[\w-]+)?", service["image"])
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
    assert services["control"]["image"] == services["worker"]["image"]
    assert "build" in services["control"]


def test_redis_has_a_password_and_keeps_its_data(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    command = " ".join(redis["command"])
    assert '--requirepass "$$REDIS_PASSWORD"' in command and "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert redis["environment"]["REDISCLI_AUTH"] == "${REDIS_PASSWORD}"
    assert redis["volumes"] == ["redis-data:/data"]


@pytest.mark.parametrize("name", ["control", "worker"])
def test_a_services_command_runs_what_its_variables_say(
    crawlo: Command, deployed: Path, compose: dict[str, Any], name: str
) -> None:
    service = compose["services"][name]
    assert service["stop_grace_period"] == "60s"
    assert unknown_variables(service["environment"]) == []
    assert service["environment"]["REDIS_HOST"] in compose["services"]
    assert crawlo("genspider", "myspider", "a.test", cwd=deployed).returncode == 0
    # What the file .env beside it says.
    given = {"SPIDER": "myspider", "REDIS_PASSWORD": "x"}

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", lambda m: given.get(m[1], ""), text)

    words = [filled(word) for word in service["command"]]
    assert (deployed / str(check_command(words)["config"])).is_file()
    variables = {key: filled(value) for key, value in service["environment"].items()}
    done = crawlo(*words[1:], "--dry-run", "--json", cwd=deployed, **variables)
    facts = json.loads(done.stdout)
    assert (facts["crawl"], facts["redis"]) == ("My_shop:myspider", "redis:6379/0")
    assert facts["concurrency"] == {"control": 10, "worker": 20}[name]


def test_one_control_node_seeds(compose: dict[str, Any]) -> None:
    services = compose["services"]
    roles = {
        name: s["environment"]["CRAWLO_ROLE"] for name, s in services.items() if name != "redis"
    }
    assert roles == {"control": "control", "worker": "worker"}
    assert services["worker"]["deploy"]["replicas"] == 3
