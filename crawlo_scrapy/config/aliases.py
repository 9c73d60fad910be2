"""Lets a configuration file say ``from crawlo.config import CrawloConfig``.

A finder behind all others answers for ``crawlo.config`` and ``crawlo.core.config`` where the
real package is not installed; nothing is put on the user's path.

Plain ``scrapy crawl`` imports settings.py before anything of ours runs, so there the import has
to be ``from crawlo_scrapy.config import CrawloConfig``. ``crawlo-scrapy`` installs the finder
first, and both spellings work.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Modules that we stand in for, and whether each is a package.
_MODULES = {
    "crawlo": True,
    "crawlo.config": False,
    "crawlo.core": True,
    "crawlo.core.config": False,
}
_EXPORTS = ("CrawloConfig", "Presets", "create_config")


class _Finder(MetaPathFinder, Loader):
    """Answers for the modules above, and makes them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _MODULES:
            return ModuleSpec(fullname, self, is_package=_MODULES[fullname])
        if fullname.startswith("crawlo."):
            raise ModuleNotFoundError(
                f"{fullname} is Crawlo's, which is not installed: crawlo_scrapy stands in only for "
                "crawlo.config and crawlo.core.config. Write spiders, items and middlewares with "
                "Scrapy's classes",
                name=fullname,
            )
        return None

    def exec_module(self, module: ModuleType) -> None:
        from crawlo_scrapy.config import crawlo_config

        for name in _EXPORTS:
            setattr(module, name, getattr(crawlo_config, name))


_FINDER = _Finder()


def install_aliases() -> None:
    """Answer for ``crawlo.config`` from now on. The real crawlo, if installed, goes first."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)


@contextmanager
def aliases() -> Iterator[None]:
    """Answer for ``crawlo.config`` inside the block, and leave no trace of it."""
    if _FINDER in sys.meta_path:
        yield
        return
    install_aliases()
    try:
        yield
    finally:
        sys.meta_path.remove(_FINDER)
        for name in _MODULES:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if spec is not None and spec.loader is _FINDER:
                del sys.modules[name]
