"""The ledger of what a load sent: written and flushed before each try and after each answer, so that it outlives whoever sends."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

SENT_FIELDS = ("type", "event", "userId", "messageId", "properties")
"""What a client says. The pipeline adds beside these, and must change none of them."""


class Event(NamedTuple):
    """One event as it was sent.

    Attributes:
        source: Id of its source.
        user: Its user, whose events stay in order.
        seq: Its place among all events of the load.
        message_id: Its id.
        sha256: Digest of what the client said.
    """

    source: str
    user: str
    seq: int
    message_id: str
    sha256: str


class Sent(NamedTuple):
    """What a load knows in the end.

    Attributes:
        events: Every event by message id.
        acknowledged: A: ids that were answered 2xx, or acknowledged by Kafka.
        unknown: U: ids whose outcome is in doubt: no answer, 429 or 5xx, and never acknowledged.
        refused: R4: ids that were answered 4xx only.
        copies: Events that were acknowledged, counted once for each time.
    """

    events: Mapping[str, Event]
    acknowledged: frozenset[str]
    unknown: frozenset[str]
    refused: frozenset[str]
    copies: int


def digest(body: Mapping[str, Any]) -> str:
    """Sum up what the client said in a message, whatever was added to it since.

    Args:
        body: The message.

    Returns:
        SHA-256 in hexadecimal of its fields as JSON with sorted keys.
    """
    said = {name: body[name] for name in SENT_FIELDS if name in body}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def event_of(body: Mapping[str, Any], source: str = "web") -> Event:
    """Describe a message of the load.

    Args:
        body: The message.
        source: Id of its source.

    Returns:
        The event.
    """
    return Event(source, body["userId"], body["properties"]["seq"], body["messageId"], digest(body))


class SentLedger:
    """Appends to the file of a load; for use by one thread.

    Args:
        path: The file, JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._tries = 0

    def __enter__(self) -> Self:
        """Open."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self._file.close()

    def before(self, events: Iterable[Event]) -> int:
        """Write what is about to be sent.

        Args:
            events: The events of one request.

        Returns:
            Number of the try.
        """
        self._tries += 1
        self._write({"try": self._tries, "events": [list(event) for event in events]})
        return self._tries

    def after(self, tried: int, status: int) -> None:
        """Write the answer.

        Args:
            tried: Number of the try.
            status: HTTP status; 0 where nothing answered; 200 for what Kafka acknowledged.
        """
        self._write({"try": tried, "status": status})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(orjson.dumps(line) + b"\n")
        self._file.flush()  # into the system's hands: it outlives this process, as the faults end processes and not machines


def read_sent(paths: Sequence[Path]) -> Sent:
    """Read the files of a load; a last line that was cut off is what was never sent.

    Args:
        paths: One file for each sender.

    Returns:
        What was sent, by outcome.
    """
    events: dict[str, Event] = {}
    outcomes: dict[str, list[int]] = {}
    for path in paths:
        tries: dict[int, Collection[str]] = {}
        for text in path.read_bytes().split(b"\n")[:-1]:
            line = orjson.loads(text)
            if "events" in line:
                described = [Event(*one) for one in line["events"]]
                events.update((event.message_id, event) for event in described)
                tries[line["try"]] = [event.message_id for event in described]
                for event in described:
                    outcomes.setdefault(event.message_id, []).append(0)
            else:
                for message_id in tries[line["try"]]:
                    outcomes[message_id][outcomes[message_id].index(0)] = line["status"]
    acknowledged = {message_id for message_id, answers in outcomes.items() if any(200 <= answer < 300 for answer in answers)}
    refused = {message_id for message_id, answers in outcomes.items() if all(400 <= answer < 500 and answer != 429 for answer in answers)}
    copies = sum(200 <= answer < 300 for answers in outcomes.values() for answer in answers)
    return Sent(events, frozenset(acknowledged), frozenset(outcomes.keys() - acknowledged - refused), frozenset(refused), copies)
