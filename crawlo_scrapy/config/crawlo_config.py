"""Crawlo's `CrawloConfig`: one crawl's options, made by what kind of crawl it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from crawlo_scrapy.config.border import from_crawlo
from crawlo_scrapy.config.environment import read_environment
from crawlo_scrapy.config.option import shown
from crawlo_scrapy.config.parse import Fault, OptionError, parse_all

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., "CrawloConfig"])

#: What turns everything on. `to_dict` holds it, so that a settings.py needs nothing else.
ADDON = "crawlo_scrapy.Addon"
ADDONS = {ADDON: 500}

MODES = ("standalone", "distributed", "auto")
#: Names of parameters that are not the option's name.
_PARAMETERS = {
    "REDIS_USERNAME": "REDIS_USER",
    "SENTINEL_URLS": "REDIS_SENTINEL_URLS",
    "SENTINEL_SERVICE": "REDIS_SENTINEL_SERVICE",
}


def _remembers_what_was_given(method: F) -> F:
    """Let the configuration know which parameters the caller left at their default."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def make(*args: Any, **kwargs: Any) -> CrawloConfig:
        config = method(*args, **kwargs)
        bound = signature.bind(*args, **kwargs).arguments
        given = {*bound, *(key.lower() for key in bound.get("options", ()))}
        config._demote(name for name in signature.parameters if name not in given)
        return config

    return make  # type: ignore[return-value]


class CrawloConfig:
    """Options of a crawl. Raises `ValueError` at construction, listing every fault.

    A value that was not given, but is the default of `distributed` and its like, gives way to
    the project's settings.py when it comes from a ``--config`` file.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._defaults: dict[str, Any] = {}
        self._given: dict[str, Any] = {}
        self.update(settings or {})
        if faults := self.faults():
            raise OptionError(faults)

    # What kind of crawl.

    @classmethod
    @_remembers_what_was_given
    def standalone(cls, concurrency: int = 8, download_delay: float = 1.0, **options: Any) -> Self:
        """One process, with Scrapy's own components."""
        return cls._make("standalone", locals())

    @classmethod
    @_remembers_what_was_given
    def distributed(
        cls,
        redis_host: str = "127.0.0.1",
        redis_port: int = 6379,
        redis_password: str | None = None,
        redis_db: int = 0,
        project_name: str = "crawlo",
        concurrency: int = 16,
        download_delay: float = 1.0,
        redis_username: str | None = None,
        sentinel_urls: list[str] | None = None,
        sentinel_service: str | None = None,
        **options: Any,
    ) -> Self:
        """Many processes that act as one crawler, over Redis."""
        return cls._make("distributed", locals())

    @classmethod
    @_remembers_what_was_given
    def auto(cls, concurrency: int = 12, download_delay: float = 1.0, **options: Any) -> Self:
        """Distributed where Redis answers when the crawl starts, else standalone."""
        return cls._make("auto", locals())

    @classmethod
    def from_env(cls, default_mode: str = "standalone") -> Self:
        """What the environment says, in the mode of CRAWLO_MODE."""
        values = read_environment()
        return cls.create(values.pop("RUN_MODE", default_mode), **values)

    @classmethod
    def custom(cls, settings: Mapping[str, Any] | None = None, **options: Any) -> Self:
        """Exactly these options."""
        return cls({**(settings or {}), **options})

    @classmethod
    def create(cls, mode: str = "standalone", **options: Any) -> Self:
        """By the name of the mode."""
        name = str(mode).strip().lower()
        if name not in MODES:
            raise OptionError([Fault("mode", mode, f"one of {', '.join(MODES)}")])
        config: Self = getattr(cls, name)(**_split(options))
        return config

    @staticmethod
    def presets() -> Presets:
        """Ready configurations."""
        return Presets()

    @classmethod
    def _make(cls, mode: str, arguments: dict[str, Any]) -> Self:
        options = arguments.pop("options")
        del arguments["cls"]
        given = {name: value for name, value in arguments.items() if value is not None}
        return cls({"RUN_MODE": mode, **_upper(given), **_upper(options)})

    def _demote(self, names: Iterable[str]) -> None:
        for name in map(_name, names):
            if name in self._given:
                self._defaults[name] = self._given.pop(name)

    # What it holds.

    def get(self, key: str, default: Any = None) -> Any:
        """The value of an option, as Crawlo means it."""
        value = self._all().get(_name(key))
        return default if value is None else value

    def set(self, key: str, value: Any) -> Self:
        self._given[_name(key)] = value
        return self

    def update(self, settings: Mapping[str, Any] | None = None, **options: Any) -> Self:
        for key, value in {**(settings or {}), **options}.items():
            self.set(key, value)
        return self

    def set_concurrency(self, concurrency: int) -> Self:
        return self.set("CONCURRENCY", concurrency)

    def set_delay(self, delay: float) -> Self:
        return self.set("DOWNLOAD_DELAY", delay)

    def set_redis_host(self, host: str) -> Self:
        return self.set("REDIS_HOST", host)

    def enable_debug(self) -> Self:
        return self.set("LOG_LEVEL", "DEBUG")

    def enable_mysql(self) -> Self:
        """Add the MySQL pipeline, after those that are there."""
        path = "crawlo_scrapy.pipelines.MySQLPipeline"
        pipelines = self.get("PIPELINES", [])
        if path in pipelines:
            return self
        if isinstance(pipelines, Mapping):
            number = max((n for n in pipelines.values() if n is not None), default=299) + 1
            return self.set("PIPELINES", {**pipelines, path: number})
        return self.set("PIPELINES", [*pipelines, path])

    def to_dict(self) -> dict[str, Any]:
        """The settings for a settings.py: ``locals().update(config.to_dict())``.

        Holds ADDONS, so that nothing else is needed; add-ons of your own go into the
        configuration (``addons={...}``) or are added to ADDONS below that line. DEPTH_PRIORITY
        has Scrapy's sign here and EXTENSIONS is a dict.
        """
        return self._out(self._all())

    def defaults(self) -> dict[str, Any]:
        """Of `to_dict`, what nobody asked for."""
        return self._out({k: v for k, v in self._defaults.items() if k not in self._given}, {})

    def validate(self) -> bool:
        """Whether every value can be used; what cannot is printed."""
        faults = self.faults()
        for fault in faults:
            print(fault)
        return not faults

    def faults(self) -> list[Fault]:
        return parse_all(self._all())[1]

    def print_summary(self) -> Self:
        """Print the options, without any secret."""
        print("CrawloConfig")
        for name, value in sorted(self._all().items()):
            if value is not None:
                print(f"  {name} = {shown(name, value)}")
        return self

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={shown(k, v)}" for k, v in self._all().items() if v is not None)
        return f"CrawloConfig({values})"

    def _all(self) -> dict[str, Any]:
        return {**self._defaults, **self._given}

    def _out(
        self, values: Mapping[str, Any], addons: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        result = from_crawlo({k: v for k, v in values.items() if v is not None})
        merged = {**(ADDONS if addons is None else addons), **result.get("ADDONS", {})}
        return {**result, "ADDONS": merged} if merged else result


class Presets:
    """Ready configurations for usual cases."""

    @staticmethod
    def development() -> CrawloConfig:
        """Slow, and with everything in the log."""
        return CrawloConfig.standalone(
            concurrency=4, download_delay=2.0, LOG_LEVEL="DEBUG", STATS_DUMP=True
        )

    @staticmethod
    def production() -> CrawloConfig:
        """Distributed where Redis answers, with more retries."""
        return CrawloConfig.auto(
            concurrency=16, download_delay=1.0, LOG_LEVEL="INFO", MAX_RETRY_TIMES=5
        )

    @staticmethod
    def large_scale(redis_host: str = "127.0.0.1", project_name: str = "crawlo") -> CrawloConfig:
        """Distributed, with much under way in each worker."""
        return CrawloConfig.distributed(
            redis_host=redis_host, project_name=project_name, concurrency=32, download_delay=0.5
        )

    @staticmethod
    def gentle() -> CrawloConfig:
        """For sites that block quickly."""
        return CrawloConfig.standalone(concurrency=2, download_delay=3.0, RANDOMNESS=True)


def create_config(mode: str = "standalone", **options: Any) -> CrawloConfig:
    """Make a configuration by the name of its mode."""
    return CrawloConfig.create(mode, **options)


def _name(key: str) -> str:
    upper = str(key).upper()
    return _PARAMETERS.get(upper, upper)


def _upper(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(key): value for key, value in values.items()}


def _split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by any spelling as keyword arguments: parameters in lower case."""
    lower = {"CONCURRENCY", "DOWNLOAD_DELAY"}
    return {key.lower() if key.upper() in lower else key: value for key, value in options.items()}
