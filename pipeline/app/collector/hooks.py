"""Takes the deliveries of webhook sources: lets `pipeline.ingest.webhook` decide, stores, and bounds what strangers can have stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pipeline.app.collector.counts import Counts
from pipeline.app.collector.limits import Guesses, SourceRates
from pipeline.app.collector.outbox import Outbox
from pipeline.ingest import Accepted, Refused, refusals
from pipeline.ingest.rates import Bucket, taken
from pipeline.ingest.webhook import Hook, Unproved, collect_delivery
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.model.workspace import Workspace

_log = logging.getLogger(__name__)

LETTERS_A_SECOND: Final = 1.0
LETTERS_AT_ONCE: Final = 100.0
"""Deliveries that no secret vouches for which a source keeps in dead letters: a wrong secret shows itself, a stranger fills no disk."""


class Hooks:
    """The webhook sources of a collector.

    Args:
        hook: Gives the webhook source with an id as it is now, or None.
        workspace: Gives the workspace as it is now.
        outbox: Where records are stored.
        counts: Where requests and events are counted.
        rates: The rates of the sources.
        guesses: The rates of addresses that prove nothing.
    """

    def __init__(
        self,
        *,
        hook: Callable[[str], Hook | None],
        workspace: Callable[[], Workspace],
        outbox: Outbox,
        counts: Counts,
        rates: SourceRates,
        guesses: Guesses,
    ) -> None:
        self._hook = hook
        self._workspace = workspace
        self._outbox = outbox
        self._counts = counts
        self._rates = rates
        self._guesses = guesses
        self._letters: dict[str, Bucket] = {}

    async def take(self, source: str, delivery: Delivery, ip: str, now: float) -> Refused | None:
        """Decide about a delivery and store what is to be stored.

        Args:
            source: Id of the source, as the path says it.
            delivery: The delivery.
            ip: Address of its sender.
            now: The time, seconds of a clock that never goes back.

        Returns:
            The refusal; None once what came of the delivery is stored.
        """
        workspace = self._workspace()
        verdict = self._decide(source, delivery, workspace)
        if isinstance(verdict, Refused):
            return verdict
        if isinstance(verdict, Unproved):
            return await self._refuse(source, verdict, ip, now)
        if limited := self._rates.wait(verdict.counts, workspace, now):
            return limited
        if unstored := await self._outbox.store(verdict.outputs, verdict.size):
            return unstored
        self._counts.accepted(verdict)
        return None

    def _decide(self, source: str, delivery: Delivery, workspace: Workspace) -> Accepted | Unproved | Refused:
        try:
            hook = self._hook(source)
            if hook is None:
                return refusals.NOT_FOUND
            return collect_delivery(delivery, hook, workspace)
        except Exception:  # noqa: BLE001 (whatever it is, the sender has the delivery still and sends it again)
            _log.exception("A delivery to the source %s could not be judged; its sender is asked to send it again.", source)
            return refusals.FAILED._replace(source=source)

    async def _refuse(self, source: str, unproved: Unproved, ip: str, now: float) -> Refused:
        if limited := self._guesses.wait(ip, now):
            return limited
        bucket, seconds = taken(self._letters.get(source, Bucket(LETTERS_AT_ONCE, now)), LETTERS_A_SECOND, LETTERS_AT_ONCE, now, 1)
        self._letters[source] = bucket
        size = len(unproved.letter.value or b"")
        if not seconds and self._outbox.has_room(size) and not await self._outbox.put([unproved.letter], size):
            return refusals.UNAVAILABLE
        return unproved.refusal
