"""Steering a crawl from its page: what is wanted is asked for once more, done, and noted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from crawlo_scrapy.dashboard.access import caller, read_form, root
from crawlo_scrapy.dashboard.pages import Pages
from crawlo_scrapy.dashboard.reader import Reader
from crawlo_scrapy.dashboard.urls import Urls
from crawlo_scrapy.steering import CHANGEABLE, slot_doubt
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, NotPossible
from crawlo_scrapy.store.errors import StoreError, StoreRefused
from crawlo_scrapy.store.keys import clean

#: The field that says that a form was sent on purpose, and came whole.
SURE = "sure"


@dataclass(frozen=True)
class Action:
    """What a person wants: `do` does it for who is named. `effect` says what follows.

    `fields` lead to the same action again; `options` are names and labels of those that are left
    to choose.
    """

    title: str
    effect: str
    do: Callable[[Control, str], Awaitable[object]]
    fields: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


class Actions:
    """Asks whether an action is wanted, and takes the answer. Only a POST changes anything."""

    def __init__(self, client: Client, reader: Reader, pages: Pages) -> None:
        self._client = client
        self._reader = reader
        self._pages = pages

    async def page(self, request: Request) -> Response:
        name, verb = request.path_params["name"], request.path_params["verb"]
        control = Control(self._client, self._reader.keys(name))
        if verb not in _ACTIONS:
            raise HTTPException(404)
        posted = request.method == "POST"
        form = await read_form(request) if posted else dict(request.query_params)
        action, message, status = None, "", 200
        try:
            action = _ACTIONS[verb](form)
        except ValueError as exc:
            message, status = f"{exc}.", 400
        if action and posted and SURE not in form:
            # Without its fields a form may mean more than it should: the crawl, not a node.
            message, status = "The form did not arrive as a whole.", 400
        elif action and posted:
            message, status = await self._do(action, control, caller(request))
            if not message:
                return RedirectResponse(f"{Urls(root(request)).crawl(name)}#control", 303)
        values = {"name": name, "verb": verb, "action": action, "message": message, "sure": SURE}
        return self._pages.render(request, "action.html", values, status)

    async def _do(self, action: Action, control: Control, who: str) -> tuple[str, int]:
        """Return what was in the way, and the HTTP status of that; nothing when it is done."""
        try:
            await action.do(control, who)
        except NotPossible as exc:
            return f"This is not possible: {exc}.", 409
        except StoreRefused as exc:
            return f"The dashboard may only look on, it needs the rights of a worker. {exc}", 403
        except StoreError as exc:
            return f"The log tells whether it was done. {exc}", 503
        finally:
            # Who did it sees what became of it.
            self._reader.shared.clear()
        return "", 200


def _pause(form: Mapping[str, str]) -> Action:
    effect = "finishes what is in progress, gives back the rest, and waits until it is resumed."
    if node := _node(form):
        return Action(
            f"Pause {node}", f"The node {effect}",
            lambda control, who: control.pause_node(who, node), {"node": node},
        )  # fmt: skip
    effect = f"Each worker {effect} Workers that are started meanwhile wait, too."
    return Action("Pause the crawl", effect, lambda control, who: control.pause(who))


def _resume(form: Mapping[str, str]) -> Action:
    if node := _node(form):
        return Action(
            f"Resume {node}", "The node goes on, unless the crawl is paused.",
            lambda control, who: control.pause_node(who, node, paused=False), {"node": node},
        )  # fmt: skip
    effect = "The crawl goes on. A stop is taken back for the workers that are still there."
    return Action("Resume the crawl", effect, lambda control, who: control.resume(who))


def _stop(form: Mapping[str, str]) -> Action:
    now = "now" in form
    return Action(
        "Stop the crawl",
        "All workers finish what is in progress and leave. Nothing is lost: workers that are "
        "started later go on with the crawl.",
        lambda control, who: control.stop(who, now=now),
        options={"now": "Now: give back what is in progress, to be crawled again"},
    )


def _drain(form: Mapping[str, str]) -> Action:
    node = _given(form, "node", "the node")
    return Action(
        f"Drain {node}", "The node finishes what is in progress, gives back the rest, and leaves.",
        lambda control, who: control.drain(who, node), {"node": node},
    )  # fmt: skip


def _scale(form: Mapping[str, str]) -> Action:
    text, node = _given(form, "concurrency", "the number of requests").strip(), _node(form)
    chosen = {"concurrency": text, **({"node": node} if node else {})}
    whom = node or "each worker"
    if text == "default":
        return Action(
            f"Take back the concurrency of {whom}",
            f"{'The node' if node else 'Each worker'} has as many requests in progress as "
            f"{'is set for all nodes, or ' if node else ''}its settings say.",
            lambda control, who: control.scale(who, None, node), chosen,
        )  # fmt: skip
    try:
        count = CHANGEABLE["CONCURRENT_REQUESTS"](text)
    except ValueError as exc:
        raise ValueError(f"The number of requests is {text!r}: it {exc}") from None
    return Action(
        f"Set the concurrency of {whom} to {count}",
        f"{'The node' if node else 'Each worker'} has {count} requests in progress at most.",
        lambda control, who: control.scale(who, count, node), chosen,
    )  # fmt: skip


def _set(form: Mapping[str, str]) -> Action:
    name, text = _given(form, "setting", "the setting"), form.get("value", "").strip()
    if name not in CHANGEABLE:
        raise ValueError(f"{name} cannot change while a crawl runs")
    chosen = {"setting": name, "value": text}
    if text in ("", "default"):
        return Action(
            f"Take {name} back", "Each worker has again what its own settings say.",
            lambda control, who: control.set(who, name, None), chosen,
        )  # fmt: skip
    try:
        CHANGEABLE[name](text)
    except ValueError as exc:
        raise ValueError(f"{name} is {text!r}: it {exc}") from None
    return Action(
        f"Set {name} to {text}",
        "Each worker has that instead of what its own settings say, as have those to come.",
        lambda control, who: control.set(who, name, text), chosen,
    )  # fmt: skip


def _delay(form: Mapping[str, str]) -> Action:
    slot, text = _given(form, "slot", "the host").strip(), form.get("seconds", "").strip()
    seconds = None
    if text not in ("", "default"):
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 10**6:
            raise ValueError(f"The delay is {text!r}: it must be a number of seconds, 0 or more")
    return Action(
        f"Set the delay of {slot} to {'what the settings say' if seconds is None else f'{text} s'}",
        "Two requests to the host are that far apart, whichever workers send them. "
        f"It holds until it is set again, or the crawl is purged. {slot_doubt(slot)}",
        lambda control, who: control.delay(who, clean(slot), seconds),
        {"slot": slot, "seconds": text},
    )


def _requeue(form: Mapping[str, str]) -> Action:
    reason = _given(form, "reason", "the reason")
    return Action(
        f"Requeue dead letters: {reason}",
        "All dead letters with this reason are queued again, with all attempts before them. "
        "A crawl that is finished goes on with them once workers are started.",
        lambda control, who: control.requeue(who, reason),
        {"reason": reason},
    )


def _node(form: Mapping[str, str]) -> str:
    """Return the node that is meant, empty for all: an empty field is nobody's wish for all."""
    return _given(form, "node", "the node") if "node" in form else ""


def _given(form: Mapping[str, str], name: str, what: str) -> str:
    text = form.get(name, "")
    if not text.strip():
        raise ValueError(f"Say {what}")
    return text


_ACTIONS: Mapping[str, Callable[[Mapping[str, str]], Action]] = {
    "pause": _pause, "resume": _resume, "stop": _stop, "drain": _drain, "scale": _scale,
    "delay": _delay, "set": _set, "requeue": _requeue,
}  # fmt: skip
