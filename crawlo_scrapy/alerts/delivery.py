"""Gets notices to channels: in threads, with pauses between attempts, and an end to them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from crawlo_scrapy.alerts.channels import Channel, NotSent
from crawlo_scrapy.alerts.notices import Notice
from crawlo_scrapy.alerts.rules import Rule

logger = logging.getLogger(__name__)

#: Pauses before a notice is sent again, in seconds.
PAUSES = (1.0, 5.0, 15.0)
#: How long all attempts may take, in seconds.
LIMIT = 75.0


class Delivery:
    """Tells *channels* and the log. Never raises: who cannot be told is told of in the log."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._failing: set[Channel] = set()

    async def tell(self, rule: Rule, notice: Notice) -> None:
        """Return once all channels of *rule* have taken the notice, or were given up."""
        if not rule.to or "log" in rule.to:
            good = notice.alert == "finished" or notice.status == "recovered"
            logger.log(logging.INFO if good else logging.WARNING, "Alert: %s", notice.title)
        told = [c for c in self._channels if not rule.to or c.kind in rule.to]
        await asyncio.gather(*(self._send(channel, notice) for channel in told))

    async def _send(self, channel: Channel, notice: Notice) -> None:
        try:
            await asyncio.wait_for(self._attempt(channel, notice), LIMIT)
        except asyncio.TimeoutError:
            self._failed(channel, "no answer")
        except NotSent as exc:
            self._failed(channel, str(exc))
        else:
            if channel in self._failing:
                logger.info("Alerts reach the %s at %s again", channel.kind, channel.shown)
            self._failing.discard(channel)

    async def _attempt(self, channel: Channel, notice: Notice) -> None:
        for pause in (*PAUSES, None):
            try:
                await asyncio.to_thread(channel.send, notice)
                return
            except NotSent as exc:
                if pause is None or exc.final:
                    raise
            await asyncio.sleep(pause)

    def _failed(self, channel: Channel, why: str) -> None:
        if channel not in self._failing:
            logger.warning(
                "Alerts do not reach the %s at %s: %s. Until they do this is not said again.",
                channel.kind, channel.shown, why,
            )  # fmt: skip
        self._failing.add(channel)
