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

from crawlo_scrapy.cli.startproject import TEMPLATES, write_project
from tests.cli.conftest import Command
from tests.reference.document import blocks
from tests.servers import default_redis

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "template",
    [
        name if name == "distributed" else pytest.param(name, marks=pytest.mark.slow)
        for name in TEMPLATES
    ],
)
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


def test_a_spider_for_a_site_on_a_port(crawlo: Command, tmp_path: Path) -> None:
    """Scrapy's OffsiteMiddleware compares host names: with a port no link would be on the site."""
    write_project(tmp_path / "shop_1", "shop_1", "minimal")
    folder = tmp_path / "shop_1"
    assert crawlo("genspider", "ex", "http://127.0.0.1:8000/a", cwd=folder).returncode == 0
    text = (folder / "shop_1/spiders/ex.py").read_text()
    assert 'allowed_domains = ["127.0.0.1"]' in text
    assert 'start_urls = ["http://127.0.0.1:8000/a"]' in text
    same_name = crawlo("genspider", "shop_1", "a.test", cwd=folder)
    assert same_name.returncode == 1
    assert "same name as your project" in same_name.stderr
    made = {path.name for path in (folder / "tests").glob("test_*.py")}
    assert made == {"test_spiders.py", "test_ex.py"}


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
    words = ["crawlo-scrapy", "genspider", "myspider", "a.test"]
    subprocess.run(words, cwd=app, env=env, check=True, capture_output=True)
    # The document's own image does the same with the same files.
    [text] = blocks("dockerfile")
    (tmp_path / "context/Dockerfile").write_text(text.replace('"crawlo"', '"crawlo-scrapy"'))
    for words in (command, _follow_dockerfile(tmp_path / "context", app, env)):
        done = subprocess.run(
            [*words, "--dry-run"], cwd=app, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "docked:myspider" in done.stdout
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
        if word == "RUN" and (os.getuid() == 0 or not rest.startswith("chown ")):
            subprocess.run(rest, shell=True, cwd=app, env=env, check=True)
        elif word == "COPY" and rest == ". .":
            shutil.copytree(context, app, dirs_exist_ok=True)
        elif word == "COPY":
            shutil.copy(context / rest.split()[0], app / rest.split()[1])
        elif word == "CMD":
            return json.loads(rest)
        else:
            words = ("", "FROM", "ENV", "WORKDIR", "USER", "#", "HEALTHCHECK", "RUN")
            assert word in words, line
    raise AssertionError("no CMD")
