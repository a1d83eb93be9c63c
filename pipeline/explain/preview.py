"""What a configuration would send for a sample of events, held against what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.explain.changes import Change, changes
from pipeline.explain.evidence import Judged, Recomputation, header
from pipeline.explain.findings import change_data
from pipeline.model import headers as names
from pipeline.model.json_text import decode
from pipeline.model.record import Record

EXAMPLES: Final = 3
"""Rendered requests that are shown of each destination and kind of difference."""


class Example(NamedTuple):
    """One request that would differ.

    Attributes:
        message_id: The event's message id.
        mapping: The mapping.
        kind: `changed`, `new` (was not sent, would be) or `gone` (was sent, would not be).
        differences: From what was sent to what would be.
        request: What would be sent, or for `gone` what was.
    """

    message_id: str
    mapping: str
    kind: str
    differences: tuple[Change, ...] = ()
    request: Any = None


@dataclass(slots=True)
class PreviewOf:
    """What would happen at one destination.

    Attributes:
        events: Events of the sample that it could get: those of its sources.
        requests: Requests that would be sent.
        reasons: Events that nothing would be sent for, by reason.
        equal: Requests that would be as they were sent.
        changed: Requests that would be others.
        new: Requests that were not sent and would be.
        gone: Requests that were sent and would not be.
        stored: Requests of the past that were found in the topic; the others were computed with the version of their time.
        computed: Requests of the past that were computed.
        examples: A few of those that differ.
    """

    events: int = 0
    requests: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    changed: int = 0
    new: int = 0
    gone: int = 0
    stored: int = 0
    computed: int = 0
    examples: list[Example] = field(default_factory=list)


class Preview:
    """Adds up what would happen to events, one by one.

    Args:
        again: Runs the steps again.
        version: The version to preview.
        before: Steps that an event of the sample still has to pass before `filter` (none where the archive is read).
        destinations: The only destinations; empty for all.

    Attributes:
        sampled: How many events were looked at.
        ended: Events that end before they are routed, by reason.
        by_destination: What would happen, by destination.
    """

    def __init__(self, again: Recomputation, version: int, *, before: Sequence[str] = (), destinations: Collection[str] = ()) -> None:
        self._again = again
        self._version = version
        self._before = before
        self._only = frozenset(destinations)
        self.sampled = 0
        self.ended: Counter[str] = Counter()
        self.by_destination: dict[str, PreviewOf] = {one: PreviewOf() for one in again.workspace(version).destinations if self._takes(one)}

    def _takes(self, destination: str) -> bool:
        return not self._only or destination in self._only

    def add(self, record: Record, stored: Mapping[str, Mapping[str, bytes]]) -> None:
        """Look at one event.

        Args:
            record: It, as it lies in the topic of the sample.
            stored: Requests that were found of it: values by mapping, by destination.
        """
        self.sampled += 1
        now = self._rendered(record, self._version)
        own = self._own_version(record)
        past = self._rendered(record, own)
        for destination in sorted(now.sent.keys() | past.sent.keys() | stored.keys() | now.reasons.keys()):
            if self._takes(destination):
                kept = stored.get(destination)
                was = kept or past.sent.get(destination, {})
                self._compare(destination, record, was, now, found=bool(kept))
        if now.ended:
            self.ended[now.ended] += 1

    def _own_version(self, record: Record) -> int:
        text = header(record, names.CONFIG)
        stamped = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        earlier = [one for one in self._again.versions() if one != self._version or self._version == stamped]
        return max(stamped, min(self._again.version_at(record.timestamp), max(earlier, default=self._version)))

    def _compare(self, destination: str, record: Record, was: Mapping[str, bytes], now: _Rendered, *, found: bool) -> None:
        one = self.by_destination.setdefault(destination, PreviewOf())
        will = now.sent.get(destination, {})
        one.events += 1
        one.requests += len(will)
        if not will:
            one.reasons[now.reasons.get(destination) or now.ended or "destination_disabled"] += 1
        if found:
            one.stored += len(was)
        else:
            one.computed += len(was)
        for mapping in sorted(was.keys() | will.keys()):
            before, after = was.get(mapping), will.get(mapping)
            if before == after:
                one.equal += 1
            elif before is None or after is None:
                kind = "new" if before is None else "gone"
                setattr(one, kind, getattr(one, kind) + 1)
                self._show(one, Example(_message_id(record), mapping, kind, (), _request(after or before)))
            else:
                one.changed += 1
                self._show(one, Example(_message_id(record), mapping, "changed", changes(_request(before), _request(after)), _request(after)))

    def _show(self, one: PreviewOf, example: Example) -> None:
        if sum(each.kind == example.kind for each in one.examples) < EXAMPLES:
            one.examples.append(example)

    def _rendered(self, record: Record, version: int) -> _Rendered:
        withheld: tuple[tuple[str, str], ...] = ()
        for step in (*self._before, "filter"):
            judged = self._again.judge(step, record, version)
            if judged.verdict != "passed" or not judged.outputs:
                return _Rendered({}, dict(judged.withheld), judged.reason or "rekeyed")
            output = judged.outputs[-1]
            withheld = judged.withheld
            record = Record(output.topic, record.partition, record.offset, record.timestamp, output.key, output.value, output.headers)
        rendered = _Rendered({}, dict(withheld), "")
        workspace = self._again.workspace(version)
        for destination in header(record, names.ROUTES).split(","):
            if destination in workspace.destinations and self._takes(destination):
                sent, reason = _requests(self._again.judge("translate", record, version, instance=destination))
                if sent:
                    rendered.sent[destination] = sent
                else:
                    rendered.reasons[destination] = reason
        return rendered


class _Rendered(NamedTuple):
    """What one version makes of an event: values by mapping by destination, why others get nothing, and why it ended where it did."""

    sent: dict[str, dict[str, bytes]]
    reasons: dict[str, str]
    ended: str


def _requests(judged: Judged) -> tuple[dict[str, bytes], str]:
    sent = {dict(one.headers)[names.MAPPING].decode(): one.value or b"" for one in judged.outputs if names.DEAD_STAGE not in dict(one.headers)}
    return sent, judged.reason


def _request(value: bytes | None) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        return decode(value or b"null")[0]
    except ValueError:
        return None


def _message_id(record: Record) -> str:
    body = _request(record.value)
    return str(body.get("messageId", "")) if isinstance(body, dict) else ""


def preview_as_data(preview: Preview) -> dict[str, Any]:
    """Write a preview as plain data, for `--json`.

    Args:
        preview: The preview.

    Returns:
        A JSON object: `sampled`, `ended` by reason, and for each destination its counts and examples.
    """
    return {"sampled": preview.sampled, "ended": dict(preview.ended), "destinations": list(_rows(preview))}


def _rows(preview: Preview) -> Iterator[dict[str, Any]]:
    for name, one in preview.by_destination.items():
        yield {
            "destination": name,
            "events": one.events,
            "requests": one.requests,
            "reasons": dict(one.reasons),
            "equal": one.equal,
            "changed": one.changed,
            "new": one.new,
            "gone": one.gone,
            "compared_with": {"stored": one.stored, "computed": one.computed},
            "examples": [{**each._asdict(), "differences": change_data(each.differences)} for each in one.examples],
        }
