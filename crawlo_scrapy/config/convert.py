"""From an option to the Scrapy settings that it becomes.

One function for each word in the table's column *how*. It gets the value, parsed, and returns
the settings; what cannot be said in Scrapy's words goes to the translation's notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scrapy.settings import default_settings

from crawlo_scrapy.config.components import resolve
from crawlo_scrapy.config.feeds import feed_for
from crawlo_scrapy.config.memory import total_memory_mb

if TYPE_CHECKING:
    from crawlo_scrapy.config.adapter import Translation
    from crawlo_scrapy.config.option import Option

Converter = Callable[["Translation", "Option", Any], Mapping[str, Any]]


def scrapy_has(name: str) -> bool:
    """Whether this Scrapy knows the setting *name*."""
    return name in vars(default_settings)


def _nothing(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {}


def _copy(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return dict.fromkeys(option.targets, value)


def _negate(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {option.targets[0]: -value}


def _plus_one(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {option.targets[0]: value + 1}


def _megabytes(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {option.targets[0]: round(value)}


def _percent(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    total = total_memory_mb()
    if not total:
        translation.note(
            f"{option.name} was left out: the system does not say how much memory it has. "
            f"Set {option.targets[0]} in megabytes"
        )
        return {}
    return {option.targets[0]: round(total * value / 100)}


def _jitter(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    if translation.parsed("RANDOMNESS") is False:
        return {}
    return _delay_jitter(_jitter_of(translation, value))


def _randomness(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    if not value:
        return _delay_jitter(0.0)
    span = translation.parsed("RANDOM_RANGE")
    return _delay_jitter(0.5 if span is None else _jitter_of(translation, span))


def _jitter_of(translation: Translation, span: tuple[float, float]) -> float:
    low, high = span
    jitter = min(1.0, round((high - low) / 2, 6))
    if abs((low + high) / 2 - 1) > 1e-9:
        translation.note(
            f"RANDOM_RANGE {low:g} to {high:g} is not symmetric about 1, which has no equivalent: "
            f"delays vary by {jitter:g} about DOWNLOAD_DELAY"
        )
    elif not scrapy_has("DOWNLOAD_DELAY_JITTER") and jitter not in (0, 0.5):
        translation.note(
            f"RANDOM_RANGE {low:g} to {high:g} needs Scrapy 2.19: this one varies delays by 0.5"
        )
    return jitter


def _delay_jitter(jitter: float) -> dict[str, Any]:
    if scrapy_has("DOWNLOAD_DELAY_JITTER"):
        return {"DOWNLOAD_DELAY_JITTER": jitter}
    return {"RANDOMIZE_DOWNLOAD_DELAY": jitter > 0}


def _slots(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {
        "DOWNLOAD_SLOTS": {
            domain: dict(delay) if isinstance(delay, Mapping) else {"delay": float(delay)}
            for domain, delay in value.items()
        }
    }


def _verify(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    if scrapy_has("DOWNLOAD_VERIFY_CERTIFICATES"):
        return {"DOWNLOAD_VERIFY_CERTIFICATES": value}
    if value:
        translation.note(
            "VERIFY_SSL is True, but this Scrapy has no DOWNLOAD_VERIFY_CERTIFICATES: "
            "certificates are NOT verified. Use Scrapy 2.16 or newer"
        )
    return {}


def _remove(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    target = option.targets[0]
    codes = [int(code) for code in translation.settings.getlist(target)]
    return {target: [code for code in codes if code not in value]}


def _components(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    resolved = resolve(option.name, value, translation.joining)
    for note in resolved.notes:
        translation.note(note)
    translation.feed_pipelines += resolved.feeds
    return {option.targets[0]: resolved.components}


def _allowed_domains(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    spider = translation.spider
    if spider is not None and not getattr(spider, "allowed_domains", None):
        spider.allowed_domains = list(value)  # type: ignore[attr-defined]
    return {}


def _cleanup(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {"SCHEDULER_PERSIST": False} if value else {}


def _cluster(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    settings = translation.settings
    if not value or settings.getlist("REDIS_CLUSTER_NODES"):
        return {}
    host, port = settings.get("REDIS_HOST", "127.0.0.1"), settings.get("REDIS_PORT", 6379)
    return {"REDIS_CLUSTER_NODES": [f"{host}:{port}"]}


def _debug(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {"LOG_LEVEL": "DEBUG"} if value else {}


def _feed(translation: Translation, option: Option, value: Any) -> dict[str, Any]:
    return {"FEEDS": feed_for(translation, option, value)}


CONVERTERS: dict[str, Converter] = {
    "nothing": _nothing,
    # The setting has this very name, or was converted where it entered.
    "same": _nothing,
    "border": _nothing,
    # `modes` reads these together.
    "mode": _nothing,
    "filter": _nothing,
    "stats_backend": _nothing,
    # They say how a feed looks, and are read with the option that names its file.
    "feed_option": _nothing,
    "copy": _copy,
    "negate": _negate,
    "plus_one": _plus_one,
    "megabytes": _megabytes,
    "percent": _percent,
    "jitter": _jitter,
    "randomness": _randomness,
    "slots": _slots,
    "verify": _verify,
    "remove": _remove,
    "components": _components,
    "allowed_domains": _allowed_domains,
    "cleanup": _cleanup,
    "cluster": _cluster,
    "debug": _debug,
    "feed csv": _feed,
    "feed json": _feed,
    "feed jsonlines": _feed,
}
#: Conversions that start from what other options have made of the target.
LATE = ("remove", "cluster", "feed csv", "feed json", "feed jsonlines")
