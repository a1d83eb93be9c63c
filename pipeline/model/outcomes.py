"""The closed set of what a step can decide about a message. An exception is a bug, never a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.model.record import Message


class Drop(NamedTuple):
    """The message ends here, as meant; it is counted under its reason and written nowhere."""

    reason: str


class Dead(NamedTuple):
    """The message ends here, not as meant; the original record is kept whole in the stage's dead-letter topic.

    Attributes:
        reason: Name of a registered reason (`pipeline.model.reasons`).
        detail: What is wrong and where, for a person, without personal data or secrets: name places, not values.
        destination: Id of the only destination that goes without, where others have theirs; else empty.
    """

    reason: str
    detail: str = ""
    destination: str = ""


class Blocked(NamedTuple):
    """The message is held back by a tracking plan or a privacy rule and kept in the topic `blocked`."""

    reason: str
    detail: str = ""


class Emit(NamedTuple):
    """One record for a lane other than main; the topology maps the lane to a topic.

    Attributes:
        lane: Lane name, as the step declares it in the registry (`raw`, `requests`).
        key: Key bytes, or None.
        value: Value bytes.
        headers: Headers of the record, instead of the message's own.
        destination: Destination id where the lane's topic is named after one, else empty.
    """

    lane: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    destination: str = ""


class Emits(NamedTuple):
    """The message ends here, as one or more records on other lanes; it counts as passed.

    Attributes:
        records: The records.
        dead: Parts of the work that failed, each a dead letter beside the records: one destination's mapping must not cost the others theirs.
    """

    records: tuple[Emit, ...]
    dead: tuple[Dead, ...] = ()


Outcome = Drop | Dead | Blocked | Emits
"""What ends a message inside a processor. `None` from a step means that the message goes on."""

Step = Callable[[Message], Outcome | None]
"""A decision about one message. Pure: no await, clock, environment, randomness or global."""


@dataclass(frozen=True, slots=True)
class NarrowStep:
    """A step that looks at a few members of a body and changes none: what the pipeline wrote can be passed on as it lies, mostly unread.

    Attributes:
        members: Names of the members of the body that it looks at.
        step: The step.
    """

    members: frozenset[str]
    step: Step

    def __call__(self, message: Message) -> Outcome | None:
        """Decide about a message."""
        return self.step(message)
