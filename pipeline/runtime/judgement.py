"""Runs the steps of a processor over records: parse once, judge, write once, count.

This is the hot path: what it costs for each event is what the product costs (design: budgets).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from pipeline.model import headers as names
from pipeline.model import limits
from pipeline.model.json_text import decode, decoder_of, encode
from pipeline.model.ledger import Row, Tally, Verdict
from pipeline.model.outcomes import Blocked, Dead, Drop, Emits, NarrowStep, Outcome, Step
from pipeline.model.record import Headers, Message, Output, Record
from pipeline.model.topics import topic_name
from pipeline.runtime.dead_letters import dead_letter, headers_size
from pipeline.runtime.throttle import Throttle

_output: Final[Callable[[tuple[object, ...]], Output]] = partial(tuple.__new__, Output)
"""Makes an output of its five attributes in a third of the time that its own constructor takes."""
_THROTTLED: Final = Dead("source_throttled", "most records of its source crashed")

_COUNTED: Final = frozenset({"type", "event"})
"""Members of a body that the ledger counts by."""
_decoder_of: Final = lru_cache(maxsize=64)(decoder_of)

_TOO_LARGE: Final = "output_too_large"

EXACT: Final = "exact_json"
"""Header of an event with values that only the exact JSON reader carries."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a processor, built for one version of the configuration.

    Attributes:
        prefix: The workspace's name.
        version: Version of the configuration.
        steps: Names and functions in order.
        lanes: Topic of each lane without prefix; may hold `{stage}` and `{destination}`.
        trusted: Whether the input was written by the pipeline itself, so that its JSON needs no second look.
        destination: Id of the destination that the processor works for, where there is one for each; else empty.
    """

    prefix: str
    version: int
    steps: tuple[tuple[str, Step], ...]
    lanes: Mapping[str, str]
    trusted: bool
    destination: str = ""


class Crash(NamedTuple):
    """A record on which a step raised an exception: its source, the stage, and what was raised where, for the log."""

    source: str
    stage: str
    what: str = ""


@dataclass(slots=True)
class Judged:
    """What became of a run of records.

    Attributes:
        outputs: Records to write, in order.
        tally: Counts for the ledger and the metrics.
        crashes: The records on which a step raised an exception.
        throttle: The sources whose records go to dead letters unjudged, or None.
        bytes: Size of the outputs' values.
        spared: Whether a record whose output was refused still has one, beside its dead letters.
    """

    outputs: list[Output] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    crashes: list[Crash] = field(default_factory=list)
    bytes: int = 0
    throttle: Throttle | None = None
    spared: bool = False


def judge(
    records: Sequence[Record], plan: Plan, judged: Judged, *, at_ms: int, refused: Mapping[int, tuple[str, ...]] = MappingProxyType({})
) -> None:
    """Run records through the steps and add what became of them.

    Args:
        records: Inputs in order.
        plan: The steps.
        judged: Gets outputs and counts.
        at_ms: Wall time for dead letters, milliseconds since the epoch.
        refused: Why the broker refused what was made of a record, by its offset, once for each time. Such a record is dead; where it goes to
            several destinations, each time costs it the one whose request is the largest of those left.
    """
    main = plan.lanes.get("main")
    main_topic = topic_name(plan.prefix, main) if main else ""
    version = (names.CONFIG, b"%d" % plan.version)
    append = judged.outputs.append
    rows = judged.tally.rows
    throttle = judged.throttle if judged.throttle is not None and judged.throttle.sources else None
    passed: dict[tuple[str, str, str], int] = {}  # a row is made once for each kind of event, not once for each event
    size = 0
    read = _reader(plan)
    for record in records:
        headers = dict(record.headers)
        given = record.value or b""
        members = read(given) if read is not None and EXACT not in headers else None
        if members is not None:
            message: Message | None = Message(members, record.key, headers, record, _source(headers))
        else:
            message = _parsed(record, headers, given, plan, judged, at_ms)
        if message is None:
            continue
        stage = _diverted(message, plan, throttle) if throttle is not None else ""
        stage, outcome = (stage, _THROTTLED) if stage else _run(message, plan, judged)
        if refused and record.offset in refused:
            outcome = _refused(message, outcome, refused[record.offset], judged)
        if outcome is None:
            if names.CONFIG in headers:
                del headers[names.CONFIG]  # goes last, so that the order is the same however many processors there were
            value = _written(message) if members is None else given
            size += len(value)
            append(_output((main_topic, message.key, value, (*headers.items(), version), None)))
            kind = _kind(message)
            passed[kind] = passed.get(kind, 0) + 1
        else:
            _end(message, stage, outcome, plan, judged, at_ms)
        for destination, reason in message.withheld:
            rows[_row(message, "withheld", reason, destination)] += 1
    judged.bytes += size
    for kind, count in passed.items():
        rows[Row(*kind, "passed")] += count
        judged.tally.lanes["main"] += count


def _run(message: Message, plan: Plan, judged: Judged) -> tuple[str, Outcome | None]:
    stage = ""
    try:
        for stage, step in plan.steps:
            outcome = step(message)
            if outcome is not None:
                return stage, outcome
    except Exception as error:  # noqa: BLE001 (whatever a step raises is a bug of ours: the record is isolated and kept)
        record = message.record
        what = f"{type(error).__name__} at {_raised_at(error)}"
        judged.crashes.append(Crash(message.source, stage, f"step {stage} raised {what} on {record.topic}/{record.partition}/{record.offset}"))
        return stage, Dead("crashed", what)
    return stage, None


def _refused(message: Message, outcome: Outcome | None, times: tuple[str, ...], judged: Judged) -> Outcome:
    """Leave out of an outcome what is too large: all of it, or the largest destinations, one for each time that the broker refused it."""
    if outcome is None:
        return Dead(_TOO_LARGE, times[0])
    if not isinstance(outcome, Emits):
        return outcome
    sizes: dict[str, int] = {}
    for emit in outcome.records:
        sizes[emit.destination] = max(sizes.get(emit.destination, 0), len(emit.value))
    gone = dict(zip(sorted(sizes, key=lambda one: -sizes[one]), times, strict=False))
    dead = tuple(Dead(_TOO_LARGE, why, destination) for destination, why in gone.items())
    if len(sizes) == 1 and not outcome.dead:
        return dead[0]
    message.withheld += [(one.destination, one.reason) for one in dead]
    kept = tuple(emit for emit in outcome.records if emit.destination not in gone)
    judged.spared = bool(kept)
    return Emits(kept, (*outcome.dead, *dead))


def _raised_at(error: Exception) -> str:
    """Say where an exception was raised, without its text, which may hold what is nobody's business."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"{place.tb_frame.f_globals.get('__name__', '?')}:{place.tb_lineno}" if place is not None else "?"


def _diverted(message: Message, plan: Plan, throttle: Throttle) -> str:
    """Give the stage whose dead letters take a message of a throttled source; empty where it is to be judged."""
    # Before validate has named its source only the header can, and anyone may write that: but only what a declared source crashed on is throttled.
    source = message.source or (message.headers.get(names.SOURCE) or b"").decode("utf-8", "replace")
    if plan.destination and plan.destination.encode() not in (message.headers.get(names.ROUTES) or b"").split(b","):
        return ""
    stage = throttle.diverts(source)
    if stage:
        message.source = source
    return stage


def _reader(plan: Plan) -> Callable[[bytes], dict[str, Any] | None] | None:
    """Give what reads as much of a record as the steps look at, where that is not all and none of them changes any of it."""
    named: frozenset[str] = frozenset()
    for _, step in plan.steps:
        if not plan.trusted or step.__class__ is not NarrowStep:
            return None
        named |= step.members
    return _decoder_of(named | _COUNTED)


def _source(headers: Headers) -> str:
    source = headers.get(names.SOURCE)
    return source.decode("utf-8", "replace") if source is not None else ""


def _parsed(record: Record, headers: Headers, value: bytes, plan: Plan, judged: Judged, at_ms: int) -> Message | None:
    trusted = plan.trusted
    if not trusted and (len(value) > limits.LETTER_BYTES or headers_size(record) > limits.HEADERS_BYTES):
        fault = _unfit(record)
        _dead(record, plan.steps[0][0], fault, plan, judged, at_ms)
        judged.tally.rows[Row("", "", "", "dead", fault.reason, "")] += 1
        return None
    try:
        body = orjson.loads(value) if trusted and EXACT not in headers else decode(value)[0]
    except ValueError:
        stage = plan.steps[0][0]
        _dead(record, stage, Dead("invalid_json", "the value is not JSON"), plan, judged, at_ms)
        judged.tally.rows[Row("", "", "", "dead", "invalid_json", "")] += 1
        return None
    # In what anyone may write the source is anyone's text, of any length, until validate knows it.
    return Message(body, record.key, headers, record, _source(headers) if trusted else "")


def _unfit(record: Record) -> Dead:
    """Say what anyone may write that no topic could take with our headers beside it; to fail on it would stop the partition for ever."""
    if record.value is not None and len(record.value) > limits.LETTER_BYTES:
        return Dead("event_too_large", f"{len(record.value)} bytes")
    return Dead("event_too_large", f"{headers_size(record)} bytes of headers, of which a producer may give {limits.HEADERS_BYTES}")


def _written(message: Message) -> bytes:
    try:
        return orjson.dumps(message.body)
    except TypeError:
        message.headers.pop(EXACT, None)
        message.headers[EXACT] = b"1"
        return encode(message.body)


def _row(message: Message, verdict: Verdict, reason: str = "", destination: str = "") -> Row:
    return Row(*_kind(message), verdict, reason, destination)


def _kind(message: Message) -> tuple[str, str, str]:
    """Give source, type and event name as the ledger counts them; what is no such text, or too long, is empty."""
    body = message.body
    if body.__class__ is not dict:
        return message.source, "", ""
    kind = body.get("type")
    event = body.get("event") if kind == "track" else ""
    return (
        message.source,
        kind if kind.__class__ is str and len(kind) < 16 else "",
        event if event.__class__ is str and len(event) < 128 else "",
    )


def _end(message: Message, stage: str, outcome: Drop | Dead | Blocked | Emits, plan: Plan, judged: Judged, at_ms: int) -> None:
    rows = judged.tally.rows
    if isinstance(outcome, Drop):
        rows[_row(message, "dropped", outcome.reason)] += 1
    elif isinstance(outcome, Emits):
        _emit(message, outcome, plan, judged)
        for dead in outcome.dead:
            _dead(message.record, stage, dead, plan, judged, at_ms)
    elif isinstance(outcome, Dead):
        rows[_row(message, "dead", outcome.reason)] += 1
        _dead(message.record, stage, outcome, plan, judged, at_ms)
    else:
        rows[_row(message, "blocked", outcome.reason)] += 1
        judged.tally.lanes["blocked"] += 1
        record = message.record
        judged.outputs.append(Output(topic_name(plan.prefix, plan.lanes["blocked"]), record.key, record.value, record.headers))


def _emit(message: Message, outcome: Emits, plan: Plan, judged: Judged) -> None:
    destinations = set()
    for emit in outcome.records:
        topic = topic_name(plan.prefix, plan.lanes[emit.lane].replace("{destination}", emit.destination).replace("{storage}", emit.destination))
        judged.outputs.append(Output(topic, emit.key, emit.value, emit.headers))
        judged.tally.lanes[emit.lane] += 1
        judged.bytes += len(emit.value)
        destinations.add(emit.destination)
    if outcome.records:
        row = _row(message, "passed", "", destinations.pop() if len(destinations) == 1 else "")
    else:
        row = _row(message, "dead", outcome.dead[0].reason)
    judged.tally.rows[row] += 1


def _dead(record: Record, stage: str, outcome: Dead, plan: Plan, judged: Judged, at_ms: int) -> None:
    topic = topic_name(plan.prefix, plan.lanes["dead"].replace("{stage}", dead_stage(stage)))
    judged.tally.lanes["dead"] += 1
    judged.outputs.append(
        dead_letter(
            record,
            topic=topic,
            stage=stage,
            reason=outcome.reason,
            detail=outcome.detail,
            config=plan.version,
            at_ms=at_ms,
            destination=outcome.destination or plan.destination,
        )
    )


def dead_stage(step: str) -> str:
    """Name the stage whose dead-letter topic takes what a step declares dead.

    Args:
        step: Name of a step.

    Returns:
        The stage; dedup, which follows validate in one processor, shares its topic.
    """
    return "validate" if step == "dedup" else step
