"""The Scrapy project that a command is about, and its crawls."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.app import did_you_mean
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.inspect import keys_of
from crawlo_scrapy.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy.settings import Settings

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

NOT_IN_PROJECT = (
    "this is not inside a Scrapy project. Go to the folder that holds its scrapy.cfg, or make "
    "a project with `crawlo-scrapy startproject NAME`."
)


@dataclass(frozen=True)
class Where:
    """What the options of `redis_options` said."""

    config: str | None = None
    redis_url: str | None = None
    crawl_id: str | None = None
    #: What a command's own ``-s`` said.
    assigned: Mapping[str, str] = field(default_factory=dict)

    @property
    def overrides(self) -> dict[str, str]:
        """The settings that they are."""
        given = {"REDIS_URL": self.redis_url, "CRAWLO_CRAWL_ID": self.crawl_id}
        named = {name: value for name, value in given.items() if value is not None}
        return {**named, **self.assigned}


def redis_options(function: F) -> F:
    """Add the options that say where a crawl is. They arrive as one argument, `where`."""

    def collect(*args: Any, **kwargs: Any) -> Any:
        where = Where(kwargs.pop("config"), kwargs.pop("redis_url"), kwargs.pop("crawl_id"))
        return function(*args, where=where, **kwargs)

    collect.__name__, collect.__doc__ = function.__name__, function.__doc__
    collect.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--crawl-id", metavar="ID", help="The crawl's CRAWLO_CRAWL_ID."),
        click.option("--redis-url", metavar="URL", help="Where Redis is; default: the project's."),
        config_option,
    ):
        collect = option(collect)
    return collect  # type: ignore[return-value]


config_option = click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Python file with a CrawloConfig or plain settings.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def in_project() -> bool:
    """Whether there is a Scrapy project here."""
    from scrapy.utils.project import inside_project

    return bool(inside_project())


def require_project() -> None:
    """Stop with one line unless there is a Scrapy project here."""
    if not in_project():
        raise click.ClickException(NOT_IN_PROJECT)


def project_settings(
    config: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Return the project's settings with our add-on, *config* and *overrides* over them."""
    from crawlo_scrapy.config.files import project_settings as read

    path = None if config is None else find_config(config)
    try:
        return read(path, overrides)
    except (SettingError, StoreError):
        raise
    except Exception as exc:
        raise click.ClickException(
            f"the project's settings cannot be imported: {_with_place(exc)}."
        ) from exc


def _with_place(exc: Exception) -> str:
    """Say what went wrong in the project's code, and where: the innermost line of its files."""
    from scrapy.utils.conf import closest_scrapy_cfg

    if isinstance(exc, SyntaxError):
        return f"{exc.filename}, line {exc.lineno}: {type(exc).__name__}: {exc.msg}"
    root = str(Path(closest_scrapy_cfg()).parent)
    lines = [
        f"{frame.filename}, line {frame.lineno}: "
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename.startswith(root)
    ]
    return f"{lines[-1] if lines else ''}{type(exc).__name__}: {exc}"


def find_config(name: str) -> Path:
    """Return the path of a ``--config`` file: here, or in the project's folder."""
    from scrapy.utils.conf import closest_scrapy_cfg

    path = Path(name)
    if not path.is_file() and not path.is_absolute() and (cfg := closest_scrapy_cfg()):
        path = Path(cfg).parent / name
    if not path.is_file():
        raise click.ClickException(f"there is no file {name} (--config).")
    return path


def spider_loader(settings: Settings) -> Any:
    """Return the loader of the project's spiders."""
    from scrapy.utils.misc import load_object

    # Scrapy 2.13 has no get_spider_loader.
    loader: Any = load_object(settings["SPIDER_LOADER_CLASS"])
    try:
        return loader.from_settings(settings.frozencopy())
    except Exception as exc:
        raise click.ClickException(
            f"the project's spiders cannot be imported: {_with_place(exc)}."
        ) from exc


def complete_spider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the spiders that a shell may complete *incomplete* to."""
    try:
        names = spider_loader(project_settings()).list() if in_project() else []
    except Exception:  # whatever is wrong with the project, a completion is no place to say it
        return []
    return [name for name in sorted(names) if name.startswith(incomplete)]


def require_spider(settings: Settings, name: str) -> Any:
    """Return the spider class of that name, or stop with one line."""
    loader = spider_loader(settings)
    known = loader.list()
    if name in known:
        return loader.load(name)
    raise click.ClickException(
        f"there is no spider {name!r} in this project."
        + (did_you_mean(name, known) or f" It has: {', '.join(sorted(known)) or 'none'}.")
    )


def final_settings(settings: Settings, spidercls: Any = None) -> Settings:
    """Return a copy as a worker has it, with the spider's own settings. Raises `SettingError`."""
    from crawlo_scrapy.addon import allow_extension_list
    from crawlo_scrapy.config.adapter import apply_options

    final: Any = settings.copy()
    allow_extension_list(final)
    if spidercls is not None:
        spidercls.update_settings(final)
    apply_options(final)
    return final  # type: ignore[no-any-return]


def checked_settings(settings: Settings, spider: str) -> Settings:
    """Return what `final_settings` does for a spider. Raises `SettingError` for all that stops it.

    With CRAWLO_STRICT these are also names that have no effect, or look mistyped.
    """
    from crawlo_scrapy.alerts.channels import channels_of
    from crawlo_scrapy.alerts.rules import rules_of
    from crawlo_scrapy.config.names import check_names

    final = final_settings(settings, require_spider(settings, spider))
    rules_of(final)
    channels_of(final)
    if ours.get(final, "CRAWLO_STRICT"):
        check_names(final).refuse()
    return final


@dataclass(frozen=True)
class Crawl:
    """A crawl to look at: where it is, and after what silence its workers are dead."""

    address: Address
    keys: Keys
    timeout: float
    settings: Settings

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client that has been told nothing yet; closed at the end of the block."""
        client = Client.connect(self.address, "crawlo-scrapy")
        try:
            yield client
        finally:
            await client.close()


def crawl_of(spider: str | None, where: Where) -> Crawl:
    """Return the crawl of a spider of this project, or the one called PROJECT:SPIDER[:ID].

    Without *spider*, that of the project's only spider.
    """
    settings = project_settings(where.config, where.overrides)
    if spider is None:
        require_project()
        spider, *others = spider_loader(settings).list() or [""]
        if others or not spider:
            names = ", ".join(sorted([spider, *others]))
            raise click.UsageError(f"say which SPIDER; this project has: {names or 'none'}.")
    if ":" in spider:
        try:
            keys = keys_of(spider)
        except ValueError as exc:
            raise click.ClickException(f"{exc}.") from None
        final = final_settings(settings)
    else:
        require_project()
        final = final_settings(settings, require_spider(settings, spider))
        keys = connection.keys(final, spider)
    timeout = ours.get(final, "CRAWLO_WORKER_TIMEOUT")
    return Crawl(connection.address(final), keys, timeout, final)


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end."""
    return asyncio.run(coroutine)
