"""What waits for a destination, and what resuming it would send: for `headrace destination resume --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from pipeline.app.cli.deadletters_text import difference
from pipeline.app.cli.output import say, say_plain, table
from pipeline.deliver.progress import decode_finished
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Broker, Position
from pipeline.runtime.delivery.order import HeldTopic
from pipeline.runtime.partition_worker import start_offset
from pipeline.runtime.redrive import Change
from pipeline.runtime.translated_anew import Renewal

AS_RENDERED: Final = "as rendered"
_HOW: Final = {
    "unchanged": AS_RENDERED,
    "event expired": "as rendered: the event is no longer kept",
    "no request": "to dead letters (mapping_failed)",
}


class Waiting(NamedTuple):
    """What waits for a destination.

    Attributes:
        lines: How many requests, by what would be done with them and why.
        change: The first that would be another one, or None.
    """

    lines: Counter[tuple[str, str]]
    change: Change | None


async def look_at_waiting(broker: Broker, prefix: str, destination: str, group: str, renewal: Renewal | None) -> Waiting:
    """Look at what waits for a destination; nothing is sent or written.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        destination: Destination id.
        group: Consumer group that delivers to it, without prefix.
        renewal: What translates anew; None where all is sent as it was rendered.

    Returns:
        What would be done with each request that is in the destination's topics and not finished. What waits in a retry topic for its
        time is not among them.

    Raises:
        BrokerError: The broker does not answer.
    """
    lines: Counter[tuple[str, str]] = Counter()
    change: Change | None = None
    async for records in _waiting(broker, topic_name(prefix, f"requests.{destination}"), topic_name(prefix, group)):
        meant = [record for record in records if renewal is not None and renewal.means(record)]
        lines[AS_RENDERED, ""] += len(records) - len(meant)
        if renewal is None or not meant:
            continue
        for before, anew in zip(meant, await renewal.renew(meant), strict=True):
            lines[_HOW.get(anew.how, anew.how), anew.why] += 1
            if change is None and anew.record is not before:
                place = f"{before.topic.removeprefix(f'{prefix}.')}/{before.partition}/{before.offset}"
                change = Change(place, before.value or b"", anew.record.value or b"")
    return Waiting(+lines, change)


async def _waiting(broker: Broker, live: str, group: str) -> AsyncIterator[Sequence[Record]]:
    committed = await broker.admin().positions(group)
    lookup = broker.lookup()
    try:
        bounds = await lookup.start({live, f"{live}.retry", f"{live}.replay"})
        for partition, (first, end) in bounds.items():
            position = committed.get(partition, Position(first))
            finished = decode_finished(position.offset, position.metadata)
            async for records in lookup.read(partition, start_offset(position, (first, end)), end):
                yield [record for record in records if not any(record.offset in span for span in finished)]
    finally:
        await lookup.stop()
    held = HeldTopic(broker, live)
    for partition in [one for one in bounds if one.topic == live]:
        yield await held.read(TopicPartition(live, partition.partition), ordered=False)


def as_data(waiting: Waiting) -> dict[str, Any]:
    """Write what waits for a script.

    Args:
        waiting: It.

    Returns:
        A JSON object.
    """
    requests = [{"requests": count, "how": how, "why": why} for (how, why), count in waiting.lines.most_common()]
    diff = {} if waiting.change is None else {"diff": "\n".join(difference(waiting.change))}
    return {"dry_run": True, "waiting": waiting.lines.total(), "requests": requests, **diff}


def say_waiting(destination: str, waiting: Waiting) -> None:
    """Say what waits.

    Args:
        destination: Destination id.
        waiting: It.
    """
    if waiting.lines:
        table(("requests", "would go", "why"), [(count, how, why or "-") for (how, why), count in waiting.lines.most_common()])
        say()
    if waiting.change is not None:
        say(f"[bold]{waiting.change.place}[/], for one:")
        say_plain("\n".join(difference(waiting.change)))
        say()
    anew = waiting.lines["translated anew", ""]
    say(f"[yellow]dry run[/]: {waiting.lines.total()} wait for {destination}, {anew} would be translated anew")
