"""`crawlo-scrapy startproject`: a Scrapy project, with all that its deployment needs."""

from __future__ import annotations

import keyword
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: Template -> what it is for, and whether Docker, Kubernetes and systemd files come with it.
TEMPLATES = {
    "default": ("shared where Redis answers, else one process", True),
    "simple": ("one process, Scrapy's own queue", False),
    "distributed": ("shared, nothing starts without Redis", True),
    "high-performance": ("shared, many requests at once", True),
    "gentle": ("shared, slow, for sites that block quickly", True),
    "minimal": ("as few settings as can be", False),
}
_SUFFIX = ".tmpl"


@click.command(
    "startproject",
    epilog="\b\nTemplates:\n"
    + "\n".join(f"  {name:17} {text}" for name, (text, _) in TEMPLATES.items())
    + "\n\n\b\nExamples:\n  crawlo-scrapy startproject shop\n"
    "  crawlo-scrapy startproject shop gentle\n",
)
@click.argument("name")
@click.argument("template", type=click.Choice(list(TEMPLATES)), default="default")
def command(name: str, template: str) -> None:
    """Make the project NAME in a new folder of that name."""
    _check_name(name)
    folder = Path(name)
    if folder.exists():
        raise click.ClickException(f"{folder} exists already.")
    write_project(folder, name, template)
    click.echo(f"Made the project {name} ({template}) in {folder.absolute()}. Now:")
    click.echo(f"  cd {name}")
    click.echo("  crawlo-scrapy genspider example example.com")
    click.echo("  crawlo-scrapy run example")


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or not name[0].isalpha():
        raise click.ClickException(
            f"{name!r} cannot be the name of a project: it must begin with a letter and hold "
            "letters, digits and underscores only."
        )
    if find_spec(name) is not None:
        raise click.ClickException(f"there is a Python module {name} already: choose another name.")


def write_project(folder: Path, name: str, template: str) -> None:
    """Write all files of the project into *folder*."""
    root = templates()
    _copy(root / "project", folder, name)
    settings = (root / "settings" / f"{template}.py{_SUFFIX}").read_text("utf-8")
    (folder / name / "settings.py").write_text(fill(settings, name), "utf-8")
    if TEMPLATES[template][1]:
        _copy(root / "deploy", folder, name)


def templates() -> Traversable:
    """Return the folder of templates in this package."""
    return files("crawlo_scrapy.cli") / "templates"


def fill(text: str, project: str, **more: str) -> str:
    """Put names into a template: ``@project@``, ``@class@``, ``@name@``, and *more*."""
    names = {
        "project": project,
        "class": "".join(part[:1].upper() + part[1:] for part in project.split("_")),
        # Kubernetes takes neither underscores nor capitals.
        "name": project.lower().replace("_", "-").strip("-"),
        **more,
    }
    for word, value in names.items():
        text = text.replace(f"@{word}@", value)
    return text


def _copy(source: Traversable, folder: Path, project: str) -> None:
    folder.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, folder / (project if entry.name == "module" else entry.name), project)
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            if name.startswith("dot_"):
                name = "." + name.removeprefix("dot_")
            elif name.startswith("worker@"):
                name = f"{project}-{name}"
            (folder / name).write_text(fill(entry.read_text("utf-8"), project), "utf-8")
