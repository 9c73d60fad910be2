"""Projects that are generated: they run, and their files fit together."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crawlo_scrapy.cli.startproject import TEMPLATES, write_project
from tests.cli.conftest import Command
from tests.servers import default_redis

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_makes_a_project_that_runs(
    crawlo: Command, tmp_path: Path, redis_url: str, project: str, template: str
) -> None:
    name = "p" + project.replace("-", "_")
    made = crawlo("startproject", name, template, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / name
    assert crawlo("genspider", "ex", "127.0.0.1", cwd=folder).returncode == 0
    done = crawlo(
        "run", "ex", "--json", "-s", "RETRY_ENABLED=0", "-s", "DOWNLOAD_DELAY=0",
        cwd=folder, CRAWLO_REDIS_URL=redis_url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["finish_reason"] == "finished"
    shared = TEMPLATES[template][0].startswith("shared") or template == "minimal"
    queue = "redis" if shared or template == "default" else "memory"
    assert json.loads(done.stdout)["stats"][f"scheduler/enqueued/{queue}"] == 1
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:twisted"]
    tests = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert "2 passed" in tests.stdout, tests.stdout
    assert not list(folder.rglob("*.tmpl"))
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert not re.search("@(project|name|class|spider|domain)@", path.read_text()), path


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    write_project(tmp_path / "My_shop", "My_shop", "distributed")
    return tmp_path / "My_shop"


def documents(folder: Path) -> list[dict]:
    return [
        document
        for path in sorted((folder / "k8s").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def test_manifests_refer_to_each_other(deployed: Path) -> None:
    found = documents(deployed)
    names = {(d["kind"], d["metadata"]["name"]) for d in found}
    assert all(re.fullmatch("[a-z][a-z0-9-]*", name) for _, name in names)
    for document in found:
        text = json.dumps(document)
        for name in re.findall(r'"secretKeyRef": {"name": "(.*?)"', text):
            assert ("Secret", name) in names
        for name in re.findall(r'"configMapRef": {"name": "(.*?)"', text):
            assert ("ConfigMap", name) in names
        spec = document.get("spec", {})
        if "selector" in spec and "template" in spec:
            labels = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"].items() <= labels.items()
        if document["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names
    host = next(d for d in found if d["kind"] == "ConfigMap")["data"]["REDIS_HOST"]
    assert ("Service", host) in names


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_workers_have_time_to_leave_and_files_to_read(deployed: Path, kind: str) -> None:
    [document] = [d for d in documents(deployed) if d["kind"] == kind]
    pod = document["spec"]["template"]["spec"]
    [container] = pod["containers"]
    text = (deployed / "worker_settings.py").read_text()
    timeout = int(re.search(r"download_timeout=(\d+)", text)[1])
    assert pod["terminationGracePeriodSeconds"] >= timeout + 10
    assert (deployed / container["command"][-1]).is_file()
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"][:2] == ["crawlo-scrapy", "health"]
    assert container["resources"]["limits"]["memory"]


def test_compose_file(deployed: Path) -> None:
    services = yaml.safe_load((deployed / "docker-compose.yml").read_text())["services"]
    assert services["worker"]["environment"] == services["control"]["environment"] | {
        "CRAWLO_ROLE": "worker"
    }
    for name in ("control", "worker"):
        assert services[name]["environment"]["REDIS_HOST"] in services
        assert (deployed / services[name]["command"][-1]).is_file()
        assert services[name]["stop_grace_period"] == "60s"


def test_unit_runs_the_part_before_the_colon(deployed: Path) -> None:
    unit = (deployed / "systemd/My_shop-worker@.service").read_text()
    line = re.search(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)[1]
    # As systemd reads it.
    script = line.replace("%i", "ex:2").replace("%%", "%").replace("$$", "$")
    script = script.replace("exec /opt/My_shop/venv/bin/crawlo-scrapy", "echo")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "run ex --config worker_settings.py\n"


@pytest.mark.slow
def test_wheel_holds_all_that_the_command_needs(tmp_path: Path) -> None:
    """The Dockerfile's steps and the demo, from a wheel in a fresh environment."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("crawlo_scrapy", "example_project"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), source]
    subprocess.run(build, check=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    write_project(tmp_path / "context", "docked", "default")
    path = f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PIP_FIND_LINKS": str(wheels)}
    app = tmp_path / "app"
    app.mkdir()
    command = _follow_dockerfile(tmp_path / "context", app, env)
    env["CRAWLO_REDIS_SERVER"] = str(default_redis())
    done = subprocess.run(
        [*command, "--dry-run"], cwd=app, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = ["crawlo-scrapy", "startproject", "whole"]
    subprocess.run(made, cwd=tmp_path, env=env, check=True, capture_output=True)
    write_project(tmp_path / "expected", "whole", "default")
    assert _files(tmp_path / "whole") == _files(tmp_path / "expected")
    demo = subprocess.run(
        ["crawlo-scrapy", "demo"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def _follow_dockerfile(context: Path, app: Path, env: dict[str, str]) -> list[str]:
    """Do what COPY and RUN say, in *app* for WORKDIR; return CMD."""
    for line in (context / "Dockerfile").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            subprocess.run(rest, shell=True, cwd=app, env=env, check=True)
        elif word == "COPY" and rest == ". .":
            shutil.copytree(context, app, dirs_exist_ok=True)
        elif word == "COPY":
            shutil.copy(context / rest.split()[0], app / rest.split()[1])
        elif word == "CMD":
            return json.loads(rest)
        else:
            assert word in ("", "FROM", "ENV", "WORKDIR", "USER", "#", "HEALTHCHECK"), line
    raise AssertionError("no CMD")
