"""The one table of topics: what each is for, its key, its value, how long it is kept (design: the way of an event)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from pipeline.model import limits

_HOUR: Final = 3_600_000
_DAY: Final = 24 * _HOUR

RETRY_DELAYS: Final[Mapping[str, int]] = {"10s": 10_000, "1m": 60_000, "5m": 300_000, "10m": 600_000, "30m": 1_800_000}
"""The retry tiers by name, with their delay in milliseconds, shortest first."""

DEAD_LETTERS_MS: Final = 30 * _DAY
"""How long dead letters are kept."""

DEDUP_WINDOW_SECONDS: Final = 24 * 3600
"""How long messages are remembered, unless the topology says otherwise."""
DEDUP_CHANGELOG: Final = "{processor}.dedup.changelog"

EVENT_PARTITIONS: Final = 4
"""Partitions of every topic that holds events, unless the topology says otherwise."""


class Topic(NamedTuple):
    """A row of the table.

    Attributes:
        name: Name without the workspace's prefix; `{destination}`, `{storage}`, `{processor}` or `{delay}` stand for ids.
        key: What the key is, for a person.
        value: What the value and the headers are, for a person.
        partitions: `events` (as many as the events' topics have) or a number.
        retention_ms: How long records are kept, in milliseconds; -1 for no time limit.
        cleanup: Kafka's cleanup policy.
        retention_bytes: Byte budget of one partition; -1 for none.
        segment_bytes: Size at which a file of the log is closed and can be compacted; -1 for the cluster's own.
    """

    name: str
    key: str
    value: str
    partitions: Literal["events"] | int = "events"
    retention_ms: int = -1
    cleanup: Literal["delete", "compact"] = "delete"
    retention_bytes: int = -1
    segment_bytes: int = -1


HELD: Final = "requests.{destination}.held"

TOPICS: Final[tuple[Topic, ...]] = (
    Topic(
        "raw", "anonymousId, else userId", "the message as it came, batch fields merged in; any Kafka client may write here", retention_ms=7 * _DAY
    ),
    Topic("validated", "as raw", "normalised spec message", retention_ms=2 * _DAY),
    Topic("enriched", "as raw", "the same with geo, device, campaign and bot", retention_ms=7 * _DAY),
    Topic("routed", "as raw", "unchanged; header routes names the destinations and storages", retention_ms=3 * _DAY),
    Topic("requests.{destination}", "as raw, or userId with order: user", "one rendered item with secret placeholders", retention_bytes=4 * 1024**3),
    Topic("requests.{destination}.retry", "as raw", "items whose delay is over, read before live traffic", retention_bytes=1024**3),
    Topic(
        HELD,
        "offset in requests.{destination} and key",
        "items that wait for an earlier one of their user (order: user), with attempt, first_attempt and not_before",
        cleanup="compact",
        segment_bytes=16 * 1024**2,
    ),
    Topic("requests.{destination}.replay", "as raw", "items of replay jobs, sent with spare capacity only", retention_bytes=1024**3),
    Topic("routed.{storage}.replay", "as raw", "events of replay jobs for a store, which adds those that it lacks", retention_ms=3 * _DAY),
    Topic("retry.{delay}", "destination and key", "the same item with attempt, first_attempt and not_before", retention_ms=_DAY),
    Topic(
        "deliveries",
        "message id (beside its request)",
        "one record for each attempt: status, latency, reason, first 1 KB of the answer",
        retention_ms=7 * _DAY,
    ),
    Topic("ledger", "processor and input partition", "what one transaction did, in numbers", partitions=1, retention_ms=30 * _DAY),
    Topic(
        "dead.{processor}",
        "as the record that died",
        "its original bytes; headers say stage, reason and place",
        partitions=1,
        retention_ms=DEAD_LETTERS_MS,
    ),
    Topic("handled", "place of a dead letter", "which dead letters were redriven or discarded, and when", partitions=1, cleanup="compact"),
    Topic("blocked", "as raw", "what a tracking plan or a privacy rule held back", partitions=1, retention_ms=30 * _DAY),
    Topic("config", "version and object", "what the workspace declares", partitions=1, cleanup="compact"),
    Topic("jobs", "kind and id", "replay jobs, what is wanted of them, and groups held back for a reset", partitions=1, cleanup="compact"),
    Topic(DEDUP_CHANGELOG, "none", "packed ids that one transaction added", retention_ms=36 * _HOUR),
)

DEAD_STAGES: Final = ("ingest", "validate", "enrich", "filter", "translate", "deliver", "lake")
"""The stages that have a dead-letter topic `dead.<stage>`."""


class Declared(NamedTuple):
    """A topic as a cluster should have it: the full name and Kafka's settings as text."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def topic_name(prefix: str, name: str) -> str:
    """Put the workspace's prefix before a topic's name.

    Args:
        prefix: The workspace's name.
        name: Topic name without prefix.

    Returns:
        The name on the cluster.
    """
    return f"{prefix}.{name}"


def declared_topics(
    prefix: str,
    *,
    destinations: Iterable[str],
    storages: Iterable[str] = (),
    dedup_processors: Iterable[str],
    dedup_windows: Mapping[str, int] = MappingProxyType({}),
    ordered: Iterable[str] = (),
    partitions: int = EVENT_PARTITIONS,
) -> Iterator[Declared]:
    """List every topic that a workspace needs.

    Args:
        prefix: The workspace's name.
        destinations: Ids of its destinations.
        storages: Ids of its storages.
        dedup_processors: Names of the processors that keep dedup state.
        dedup_windows: How long each of them remembers a message, in seconds, by name; a day where it is not named.
        ordered: Ids of the destinations that keep the order of each user.
        partitions: Partitions of the topics that hold events.

    Yields:
        One declaration for each topic.
    """
    fills: dict[str, Iterable[str]] = {
        "{destination}": tuple(destinations),
        "{storage}": tuple(storages),
        "{delay}": RETRY_DELAYS,
    }
    for topic in TOPICS:
        values: Iterable[str] = ("",)
        place = ""
        for placeholder, ids in fills.items():
            if placeholder in topic.name:
                place, values = placeholder, ids
        if topic.name == "dead.{processor}":
            place, values = "{processor}", DEAD_STAGES
        elif "{processor}" in topic.name:
            place, values = "{processor}", tuple(dedup_processors)
        elif topic.name == HELD:
            values = tuple(ordered)
        for value in values:
            name = topic.name.replace(place, value) if place else topic.name
            yield Declared(
                topic_name(prefix, name),
                partitions if topic.partitions == "events" else topic.partitions,
                topic_settings(topic, dedup_windows.get(value)),
            )


def topic_settings(topic: Topic, window_seconds: int | None = None) -> dict[str, str]:
    """Give Kafka's settings of a topic.

    Args:
        topic: A row of the table.
        window_seconds: For a dedup changelog, how long messages are remembered; None for a day.

    Returns:
        Setting names and values as text.
    """
    settings = {
        "cleanup.policy": topic.cleanup,
        "max.message.bytes": str(limits.TOPIC_MESSAGE_BYTES),
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.cleanup == "delete":
        retention_ms = topic.retention_ms
        if topic.name == DEDUP_CHANGELOG:
            retention_ms = max(_HOUR, (window_seconds or DEDUP_WINDOW_SECONDS) * 1500)
            settings["segment.ms"] = str(retention_ms // 36)  # a broker deletes whole segments, and a rebuild reads what is not yet deleted
        settings["retention.ms"] = str(retention_ms)
        if topic.retention_bytes >= 0:  # else the cluster's own default: none on most, a cap of the disk on a local run
            settings["retention.bytes"] = str(topic.retention_bytes)
    if topic.segment_bytes >= 0:
        settings["segment.bytes"] = str(topic.segment_bytes)
    return settings
