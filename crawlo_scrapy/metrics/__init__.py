"""What Prometheus is shown of a worker and of a crawl. Needs the extra ``prometheus``."""

from __future__ import annotations

import importlib.util

from crawlo_scrapy.settings import SettingError


def require_client(what: str) -> None:
    """Raise `SettingError` unless the library is there that *what* needs."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise SettingError(
            f"{what} needs prometheus-client: pip install 'crawlo_scrapy[prometheus]'"
        )
