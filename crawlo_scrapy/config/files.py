"""Configuration files: ``--config FILE``, and a project's settings for our own commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from scrapy.settings import BaseSettings, Settings
from scrapy.utils.conf import init_env
from scrapy.utils.project import ENVVAR

from crawlo_scrapy.config.aliases import aliases, install_aliases
from crawlo_scrapy.config.border import from_crawlo
from crawlo_scrapy.config.crawlo_config import ADDON, ADDONS, CrawloConfig
from crawlo_scrapy.config.parse import OptionError, parse_all
from crawlo_scrapy.config.places import CONFIG_DEFAULT, CONFIG_FILE, PROJECT
from crawlo_scrapy.settings import SettingError

#: Ways to name the add-on.
_ADDON_PATHS = (ADDON, "crawlo_scrapy.addon.Addon")


class ConfigFileError(SettingError):
    """A configuration file that cannot be used. The message names the file, and the line."""


def load_config_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Execute a configuration file and return the settings that it makes.

    The file holds ``config = CrawloConfig...``, plain names, or both; plain names win. Crawlo's
    import paths work inside it, and the name CrawloConfig is there without an import. Raises
    `SettingError`.
    """
    given, defaults = _read(Path(path))
    return {**defaults, **given}


def apply_config_file(settings: BaseSettings, path: str | os.PathLike[str]) -> None:
    """Put a configuration file into *settings*: above settings.py, below the environment.

    What the file's CrawloConfig has only as a default of its parameters stays below settings.py.
    """
    given, defaults = _read(Path(path))
    own = given.pop("ADDONS")
    for name, value in defaults.items():
        settings.set(name, value, CONFIG_DEFAULT)
    for name, value in given.items():
        settings.set(name, value, CONFIG_FILE)
    _add_addons(settings, own, CONFIG_FILE)


def project_settings(
    config: str | os.PathLike[str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings of the project around the working directory, with our add-on on.

    As Scrapy's `get_project_settings`, but with Crawlo's import paths, a list under EXTENSIONS,
    *config* above settings.py, and *overrides* as from the command line. Raises `SettingError`.
    """
    install_aliases()
    init_env(os.environ.get("SCRAPY_PROJECT", "default"))
    settings = Settings()
    if module := os.environ.get(ENVVAR):
        try:
            values = vars(import_module(module))
        except ModuleNotFoundError as exc:
            if exc.name is not None and (module + ".").startswith(exc.name + "."):
                raise ConfigFileError(
                    f"the settings module {module} of scrapy.cfg or {ENVVAR} cannot be found"
                ) from None
            raise
        for name, value in values.items():
            if name.isupper():
                settings.set(name, _as_scrapy_takes(name, value), PROJECT)
    if config is not None:
        apply_config_file(settings, config)
    for name, value in (overrides or {}).items():
        settings.set(name, _as_scrapy_takes(name, value), "cmdline")
    _add_addons(settings, ADDONS, PROJECT)
    return settings


def _as_scrapy_takes(name: str, value: Any) -> Any:
    if name == "EXTENSIONS" and isinstance(value, (list, tuple)):
        return from_crawlo({name: value})[name]
    return value


def _add_addons(settings: BaseSettings, addons: Mapping[Any, Any], priority: int) -> None:
    """Add to ADDONS what is not there, however the add-on is spelled."""
    standing = settings.getdict("ADDONS")
    present = any(path in standing for path in _ADDON_PATHS)
    added = {
        path: number
        for path, number in addons.items()
        if path not in standing and not (present and path in _ADDON_PATHS)
    }
    if added:
        highest = max(priority, settings.getpriority("ADDONS") or 0)
        settings.set("ADDONS", {**standing, **added}, highest)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a file says and what it leaves at CrawloConfig's defaults, for Scrapy."""
    names = _execute(path)
    config = _config_in(path, names)
    given, defaults = {}, {}
    if config is not None:
        defaults = config.defaults()
        given = {k: v for k, v in config.to_dict().items() if k not in defaults}
    made = {**defaults, **given}
    plain = {
        name: value
        for name, value in names.items()
        # The file may have put the configuration among its names itself.
        if name.isupper() and not (name in made and made[name] == value)
    }
    if config is None and not plain:
        raise ConfigFileError(f"{path} sets nothing: it needs config = CrawloConfig... or settings")
    _, faults = parse_all(plain, lambda _: str(path))
    if faults:
        raise OptionError(faults)
    addons = {**given.pop("ADDONS", ADDONS), **plain.get("ADDONS", {})}
    given = {**given, **from_crawlo(plain), "ADDONS": addons}
    return given, {name: value for name, value in defaults.items() if name not in given}


def _execute(path: Path) -> dict[str, Any]:
    names: dict[str, Any] = {
        "__name__": "crawlo_scrapy_config",
        "__file__": str(path),
        # Crawlo's document leaves the import out now and then.
        "CrawloConfig": CrawloConfig,
    }
    try:
        source = path.read_bytes()
    except OSError as exc:
        raise ConfigFileError(f"cannot read {path}: {exc.strerror}") from None
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with aliases():
            exec(compile(source, str(path), "exec"), names)
    except SettingError as exc:
        raise ConfigFileError(f"{path}: {exc}") from None
    except SyntaxError as exc:
        raise ConfigFileError(f"{path}, line {exc.lineno}: {exc.msg}") from None
    except Exception as exc:
        line = _line_in(path, exc)
        raise ConfigFileError(f"{path}, line {line}: {type(exc).__name__}: {exc}") from exc
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return names


def _line_in(path: Path, exc: Exception) -> int:
    """The last line of the file itself that the exception passed."""
    line, trace = 0, exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _config_in(path: Path, names: Mapping[str, Any]) -> CrawloConfig | None:
    config = names.get("config")
    if config is None:
        found = [v for v in names.values() if isinstance(v, CrawloConfig)]
        if len(found) > 1:
            raise ConfigFileError(f"{path} holds several configurations: name the one `config`")
        return found[0] if found else None
    if isinstance(config, CrawloConfig):
        return config
    if callable(getattr(config, "to_dict", None)):
        # The real crawlo's. Its modes name the classes that it would use; ours follow RUN_MODE.
        values = {k: v for k, v in config.to_dict().items() if k.isupper()}
        for name in (
            "QUEUE_TYPE",
            "FILTER_CLASS",
            "DEFAULT_DEDUP_PIPELINE",
            "SCHEDULER_QUEUE_NAME",
        ):
            values.pop(name, None)
        return CrawloConfig.custom(values)
    raise ConfigFileError(f"{path}: config is of type {type(config).__name__}, not a CrawloConfig")
