"""What is said of one event, and how it is written as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pipeline.explain.changes import Change
from pipeline.model.reasons import REASONS
from pipeline.model.record import Record


class Place(NamedTuple):
    """Where a record lies; the topic without the workspace's prefix."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Write it as commands take it."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Finding(NamedTuple):
    """The verdict of one stage.

    Attributes:
        stage: Group without prefix (`validate`, `translate.crm`); `collector` for the first.
        step: Step of that group.
        verdict: `passed`, `dropped`, `dead`, `blocked`, `waiting` (not taken yet), `routed`, `stored`, `missing` or `unknown`.
        reason: Registered reason, or empty.
        detail: What is wrong and where, or what else there is to say.
        rule: The rule behind it: its place in the workspace, and its text.
        at: When, milliseconds since the epoch; 0 where that is not known.
        config: Version of the configuration that judged; 0 for none.
        changes: What the step changed.
        place: The record that shows it.
        compared: Whether running it again gives what is stored: `same`, `differs`, `not kept`, or empty where there is nothing to compare.
        differences: In what it differs, from what is stored to what was computed.
    """

    stage: str
    step: str
    verdict: str
    reason: str = ""
    detail: str = ""
    rule: str = ""
    at: int = 0
    config: int = 0
    changes: tuple[Change, ...] = ()
    place: Place | None = None
    compared: str = ""
    differences: tuple[Change, ...] = ()


class Mapped(NamedTuple):
    """One mapping of a destination on the event.

    Attributes:
        name: The mapping.
        trigger: Its query.
        matched: Whether the event satisfies it.
        request: The rendered request, secrets as placeholders; None where there is none.
        place: Where it lies.
        compared: As for a finding.
        differences: As for a finding.
    """

    name: str
    trigger: str
    matched: bool
    request: Any = None
    place: Place | None = None
    compared: str = ""
    differences: tuple[Change, ...] = ()


class Attempt(NamedTuple):
    """One try to deliver, as the record of `deliveries` tells it; `until` says before when the next is not made (0 for none)."""

    attempt: int
    mapping: str
    outcome: str
    status: int
    reason: str
    error: str
    latency_ms: float
    answer: str
    at: int
    place: Place
    waits_in: Place | None = None
    until: int = 0


class Target(NamedTuple):
    """A destination or storage, and how far the event came on its way there.

    Attributes:
        id: Its id.
        kind: `destination` or `storage`.
        state: `delivered`, `retrying`, `parked`, `dead`, `dropped`, `withheld`, `not connected`, `waiting`, `stored`, `missing` or `unknown`.
        reason: Registered reason, or empty.
        rule: The rule behind it.
        findings: Verdicts of translate and deliver, or of the lake.
        mappings: What each mapping made of it.
        attempts: Every try, in order.
    """

    id: str
    kind: str
    state: str
    reason: str = ""
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    mappings: tuple[Mapped, ...] = ()
    attempts: tuple[Attempt, ...] = ()


class Explanation(NamedTuple):
    """Everything that is said of one event.

    Attributes:
        message_id: Its message id, or what was asked for.
        source: Its source.
        type: Spec call.
        event: Event name of a track call.
        found: Whether it was found at all.
        stages: Verdicts of the stages that every event meets, in order.
        targets: Where it is for, and where not.
        copies: Where its records lie now.
        same: Whether everything that could be compared was the same.
        searched: What was looked through.
        given_up: What was not looked through to its end.
    """

    message_id: str
    source: str = ""
    type: str = ""
    event: str = ""
    found: bool = False
    stages: tuple[Finding, ...] = ()
    targets: tuple[Target, ...] = ()
    copies: tuple[Place, ...] = ()
    same: bool = True
    searched: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What happened, in one line."""
        if not self.found:
            return "nothing is known of it"
        last = self.stages[-1] if self.stages else None
        if last is not None and last.verdict not in _GOES_ON:
            return f"{_WORDS.get(last.verdict, last.verdict)} at {last.stage}{f': {last.reason}' if last.reason else ''}"
        return "; ".join(f"{one.id} {one.state}{f' ({one.reason})' if one.reason else ''}" for one in self.targets) or "it is for nobody"


_GOES_ON: Final = frozenset(("passed", "routed"))
_WORDS: Final = {"dead": "it died", "dropped": "dropped", "blocked": "blocked", "waiting": "waiting"}


def place_of(record: Record, prefix: str) -> Place:
    """Give the place of a record."""
    return Place(record.topic.removeprefix(f"{prefix}."), record.partition, record.offset)


def as_data(explanation: Explanation) -> dict[str, Any]:
    """Write an explanation as plain data, for `--json` and the live page.

    Args:
        explanation: The explanation.

    Returns:
        A JSON object. Reasons stand with their sentences, places as `topic/partition/offset`, times in milliseconds since the epoch.
    """
    return {
        "message_id": explanation.message_id,
        "found": explanation.found,
        "sentence": explanation.sentence,
        "source": explanation.source,
        "type": explanation.type,
        "event": explanation.event,
        "same": explanation.same,
        "stages": [_finding(one) for one in explanation.stages],
        "targets": [_target(one) for one in explanation.targets],
        "copies": [str(place) for place in explanation.copies],
        "searched": list(explanation.searched),
        "given_up": list(explanation.given_up),
    }


def _target(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "kind": target.kind,
        "state": target.state,
        "reason": target.reason,
        "sentence": _sentence(target.reason),
        "rule": target.rule,
        "stages": [_finding(one) for one in target.findings],
        "mappings": [{**one._asdict(), "place": _place(one.place), "differences": change_data(one.differences)} for one in target.mappings],
        "attempts": [{**one._asdict(), "place": _place(one.place), "waits_in": _place(one.waits_in)} for one in target.attempts],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        **finding._asdict(),
        "sentence": _sentence(finding.reason),
        "place": _place(finding.place),
        "changes": change_data(finding.changes),
        "differences": change_data(finding.differences),
    }


def change_data(found: Iterable[Change]) -> list[dict[str, Any]]:
    """Write changes as plain data: kind, path, and `before` and `after` where there are any."""
    return [
        {
            "kind": one.kind,
            "path": one.path,
            **({} if one.kind == "added" else {"before": one.before}),
            **({} if one.kind == "removed" else {"after": one.after}),
        }
        for one in found
    ]


def _place(place: Place | None) -> str:
    return str(place) if place is not None else ""


def _sentence(reason: str) -> str:
    known = REASONS.get(reason)
    return known.sentence if known is not None else ""
