"""Several settings that say where Redis is: the one from the highest place wins."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

from scrapy.settings import BaseSettings

_PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_USER", "REDIS_PASSWORD")
_MANY = ("REDIS_SENTINEL_URLS", "REDIS_CLUSTER_NODES")


def settle(settings: BaseSettings) -> None:
    """Put the parts that come from a higher place than REDIS_URL into it.

    A container's REDIS_HOST thus beats the REDIS_URL of the settings.py in its image; and, with
    `_MANY`, both beat what comes from a lower place. A client without REDIS_PASSWORD gets
    REQUIREPASS, the server's own word for it.
    """
    _use_requirepass(settings)
    _unset_what_is_beaten(settings)
    url = settings.get("REDIS_URL")
    if not url:
        return
    own = settings.getpriority("REDIS_URL") or 0
    over = {
        name: str(settings[name])
        for name in _PARTS
        if settings[name] is not None and (settings.getpriority(name) or 0) > own
    }
    if over:
        priority = max(settings.getpriority(name) or 0 for name in over)
        settings.set("REDIS_URL", with_parts(str(url), over), priority)


def _unset_what_is_beaten(settings: BaseSettings) -> None:
    places = {
        name: settings.getpriority(name) or 0
        for name in ("REDIS_URL", "REDIS_HOST", *_MANY)
        if settings.get(name)
    }
    highest = max(places.values(), default=0)
    for name in _MANY:
        if places.get(name, highest) < highest:
            settings.set(name, [], highest)


def _use_requirepass(settings: BaseSettings) -> None:
    if settings.get("REQUIREPASS") and not settings.get("REDIS_PASSWORD"):
        priority = max(
            settings.getpriority(name) or 0 for name in ("REQUIREPASS", "REDIS_PASSWORD")
        )
        settings.set("REDIS_PASSWORD", str(settings["REQUIREPASS"]), priority)


def with_parts(url: str, over: dict[str, str]) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if "REDIS_HOST" not in over:
            return url
        parts = urlsplit("redis://")
    host = over.get("REDIS_HOST") or parts.hostname or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    port = over.get("REDIS_PORT") or parts.port or 6379
    path = f"/{over['REDIS_DB']}" if "REDIS_DB" in over else parts.path
    login = _login(
        parts.username if "REDIS_USER" not in over else quote(over["REDIS_USER"], safe=""),
        parts.password if "REDIS_PASSWORD" not in over else quote(over["REDIS_PASSWORD"], safe=""),
    )
    return urlunsplit((parts.scheme, f"{login}{host}:{port}", path, parts.query, ""))


def _login(user: str | None, password: str | None) -> str:
    if not user and not password:
        return ""
    return f"{user or ''}:{password}@" if password else f"{user}@"
