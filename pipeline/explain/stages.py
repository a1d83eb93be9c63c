"""The verdict of each stage on one event: what is stored, held against what the same steps give again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pipeline.explain.changes import Change, changes
from pipeline.explain.comparing import compared, differences
from pipeline.explain.evidence import Evidence, Judged, Recomputation, Taken, header, number, short_topic
from pipeline.explain.findings import Finding, place_of
from pipeline.explain.rules import ended_rule
from pipeline.model import headers as names
from pipeline.model.json_text import decode
from pipeline.model.record import Record
from pipeline.model.topology import Processor

_INGEST: Final = "ingest"


class _Ended(NamedTuple):
    """How a step of a processor left the event: the next input, or None where it ended."""

    finding: Finding
    record: Record | None


class Way:
    """The walk along the stages.

    Args:
        evidence: What was found of the event.
        again: Runs steps again.
        prefix: The workspace's name.

    Attributes:
        body: The event, as the last stage saw it.
        source: Id of its source, or empty.
        routed: Its record behind the last stage, where it came so far.
    """

    def __init__(self, evidence: Evidence, again: Recomputation, prefix: str) -> None:
        self._evidence = evidence
        self._again = again
        self._prefix = prefix
        self.body: dict[str, Any] = {}
        self.source = ""
        self.routed: Record | None = None
        self._last: Record | None = None

    def stages(self, chain: Sequence[Processor]) -> Iterator[Finding]:
        """Give what each stage did, in order.

        Args:
            chain: The processors that every event meets.
        """
        evidence = self._evidence
        refused = next((one for one in evidence.dead if header(one, names.DEAD_STAGE) == _INGEST), None)
        if refused is not None and not evidence.raw:
            self._look(refused)
            yield Finding(
                "collector",
                "collector",
                "dead",
                header(refused, names.DEAD_REASON),
                header(refused, names.DEAD_DETAIL),
                at=refused.timestamp,
                config=number(refused, names.DEAD_CONFIG),
                place=place_of(refused, self._prefix),
            )
            return
        record: Record | None = evidence.raw[0] if evidence.raw else None
        if record is not None:
            self._look(record)
            yield self._collected(record)
        ended: _Ended | None = None
        for processor in chain:
            for ended in self._processor(processor, record):
                yield ended.finding
                record = ended.record
                if record is not None:
                    self._look(record)
            if record is None:
                if ended is not None and ended.finding.reason == "no_route":
                    self.routed = self._for_nobody(ended.finding.config)
                return
        self.routed = record

    def _for_nobody(self, version: int) -> Record | None:
        """Give an event that is for nobody as if it had been routed, so that each destination says why it does not get it."""
        if self._last is None:
            return None
        own = tuple(pair for pair in self._last.headers if pair[0] not in (names.CONFIG, names.ROUTES))
        return self._last._replace(headers=(*own, (names.CONFIG, b"%d" % version)))

    def _collected(self, record: Record) -> Finding:
        received = number(record, names.RECEIVED_AT)
        by = "by the collector" if received and not header(record, names.REKEYED) else "from a Kafka client"
        if header(record, names.REKEYED):
            by = "under its key by validate: a producer had put it into another partition"
        return Finding(
            "collector", "collector", "passed", detail=f"written {by}", at=received or record.timestamp, place=place_of(record, self._prefix)
        )

    def _look(self, record: Record) -> None:
        try:
            body = decode(record.value or b"")[0]
        except ValueError:
            return
        if isinstance(body, dict):
            self.body, self._last = body, record
        self.source = header(record, names.SOURCE) or self.source

    def _processor(self, processor: Processor, record: Record | None) -> Iterator[_Ended]:
        evidence, topic = self._evidence, processor.lanes["main"]
        stored = evidence.records.get(topic)
        letter = self._letter(processor.input, record)
        taken = evidence.taken.get(processor.name)
        if record is None:
            if stored is None:
                return
            kept = "not kept" if processor.input in evidence.expired else ""
            yield _Ended(
                Finding(
                    processor.name,
                    processor.steps[-1],
                    "passed",
                    at=stored.timestamp,
                    config=number(stored, names.CONFIG),
                    place=place_of(stored, self._prefix),
                    compared=kept,
                ),
                stored,
            )
            return
        if stored is None and letter is None and processor.name in evidence.behind:
            yield _Ended(Finding(processor.name, processor.steps[0], "waiting", detail="the processor has not come to it yet"), None)
            return
        version = self._version(stored, letter, record, taken)
        at = stored.timestamp if stored is not None else letter.timestamp if letter is not None else taken.at if taken is not None else 0
        about = _About(processor, version, at, stored, letter, taken)
        walked: list[_Ended] = []
        for step in processor.steps:
            ended = self._dedup(about, record) if step == "dedup" else self._step(about, step, record)
            walked.append(ended)
            if ended.record is None:
                break
            record = ended.record
        if walked[-1].record is not None:
            # Dedup changes nothing: what the processor wrote is held against the step before it.
            place = next((number for number in reversed(range(len(walked))) if walked[number].finding.step != "dedup"), 0)
            held = self._against_stored(about, walked[place]._replace(record=walked[-1].record))
            if held.record is None:
                walked = [*walked[:place], held]
            else:
                walked[place:] = [held, *(one._replace(record=held.record) for one in walked[place + 1 :])]
        yield from walked

    def _letter(self, topic: str, record: Record | None) -> Record | None:
        for one in self._evidence.dead:
            if short_topic(header(one, names.DEAD_TOPIC), self._prefix) == topic and (
                record is None or (number(one, names.DEAD_PARTITION), number(one, names.DEAD_OFFSET)) == (record.partition, record.offset)
            ):
                return one
        return None

    def _version(self, stored: Record | None, letter: Record | None, record: Record, taken: Taken | None) -> int:
        stamped = number(stored, names.CONFIG) if stored is not None else number(letter, names.DEAD_CONFIG) if letter is not None else 0
        if stamped:
            return stamped
        # Nothing was written that says it: the version in force when its transaction was stored, never older than the one of its input.
        return max(number(record, names.CONFIG), self._again.version_at(taken.at if taken is not None else record.timestamp))

    def _dedup(self, about: _About, record: Record) -> _Ended:
        evidence = self._evidence
        first, *copies = evidence.raw or (record,)
        detail = f"first seen at {place_of(first, self._prefix)}"
        if copies:
            places = ", ".join(str(place_of(one, self._prefix)) for one in copies[:5])
            detail += f"; {len(copies)} {'copy' if len(copies) == 1 else 'copies'} of it dropped as duplicate: {places}"
        if about.stored is None and about.taken is not None and _said(about.taken, "dropped", "duplicate") and about.letter is None:
            detail = f"a message with this id was seen before, within the window{f': {evidence.first_seen}' if evidence.first_seen else ''}"
            finding = Finding(about.processor.name, "dedup", "dropped", "duplicate", detail, at=about.at, config=about.version, compared="same")
            return _Ended(finding, None)
        return _Ended(Finding(about.processor.name, "dedup", "passed", detail=detail, at=about.at, config=about.version), record)

    def _step(self, about: _About, step: str, record: Record) -> _Ended:
        name, version = about.processor.name, about.version
        try:
            judged = self._again.judge(step, record, version)
        except (KeyError, ValueError, OSError) as error:
            return self._unrepeatable(about, step, error)
        if judged.verdict == "passed" and judged.outputs and judged.outputs[-1].topic.endswith(f".{about.processor.lanes['main']}"):
            output = judged.outputs[-1]
            following = Record(output.topic, record.partition, record.offset, record.timestamp, output.key, output.value, output.headers)
            detail, found = self._did(about, step, record, following, judged)
            return _Ended(
                Finding(name, step, "routed" if step == "filter" else "passed", detail=detail, at=about.at, config=version, changes=found), following
            )
        if judged.verdict == "passed":  # back to raw under its key
            detail = "it did not lie in the partition of its key, and was written to raw again, where it belongs"
            return _Ended(Finding(name, step, "passed", "rekeyed", detail, at=about.at, config=version), None)
        return _Ended(self._end(about, step, judged), None)

    def _did(self, about: _About, step: str, record: Record, following: Record, judged: Judged) -> tuple[str, tuple[Change, ...]]:
        if step == "enrich":
            return self._enriched(about, record)
        if step == "filter":
            return f"for {header(following, names.ROUTES).replace(',', ', ')}", ()
        del judged
        return "", changes(_body(record), _body(following))

    def _enriched(self, about: _About, record: Record) -> tuple[str, tuple[Change, ...]]:
        said: list[str] = []
        everything: list[Change] = []
        before = record
        geo = self._again.workspace(about.version).enrichments.get("geo", {})
        for enrichment in about.processor.enrichments:
            judged = self._again.judge("enrich", before, about.version, enrichments=(enrichment,))
            if not judged.outputs:
                continue
            output = judged.outputs[-1]
            after = Record(before.topic, before.partition, before.offset, before.timestamp, output.key, output.value, output.headers)
            found = changes(_body(before), _body(after))
            everything += found
            nothing = "no database is set" if enrichment == "geo" and not geo.get("path") else "nothing"
            said.append(f"{enrichment}: {', '.join(one.path for one in found) or nothing}")
            before = after
        return "; ".join(said), tuple(everything)

    def _end(self, about: _About, step: str, judged: Judged) -> Finding:
        letter = about.letter
        output = judged.outputs[-1] if judged.outputs else None
        own = dict(output.headers) if output is not None else {}
        detail = own.get(names.DEAD_DETAIL, b"").decode("utf-8", "replace")
        said = ""
        found: tuple[Change, ...] = ()
        if letter is not None:
            stored = {"reason": header(letter, names.DEAD_REASON), "detail": header(letter, names.DEAD_DETAIL)}
            found = changes(stored, {"reason": judged.reason, "detail": detail})
            said = "differs" if found else "same"
        elif about.taken is not None:
            said = "same" if _said(about.taken, judged.verdict, judged.reason) else "differs"
        place = place_of(letter, self._prefix) if letter is not None else None
        verdict, reason = judged.verdict, judged.reason
        if letter is not None:  # what happened is what is stored
            verdict, reason, detail = "dead", header(letter, names.DEAD_REASON), header(letter, names.DEAD_DETAIL)
        elif about.stored is not None:  # it went on, whatever the steps say today
            return Finding(
                about.processor.name,
                step,
                "passed",
                at=about.at,
                config=about.version,
                place=place_of(about.stored, self._prefix),
                compared="differs",
                differences=(Change("changed", "/verdict", "passed", f"{judged.verdict}: {judged.reason}"),),
            )
        rule = ended_rule(step, reason, self.body, self.source)
        return Finding(about.processor.name, step, verdict, reason, detail, rule, about.at, about.version, (), place, said, found)

    def _unrepeatable(self, about: _About, step: str, error: Exception) -> _Ended:
        why = f"it cannot be run again here: {error.args[0] if isinstance(error, KeyError) and error.args else error}"
        if isinstance(error, KeyError):
            why = f"it cannot be run again: version {about.version} of the configuration is not known"
        if about.letter is not None:
            return _Ended(
                Finding(
                    about.processor.name,
                    step,
                    "dead",
                    header(about.letter, names.DEAD_REASON),
                    header(about.letter, names.DEAD_DETAIL),
                    at=about.at,
                    config=about.version,
                    place=place_of(about.letter, self._prefix),
                    compared="not kept",
                ),
                None,
            )
        if about.stored is not None:
            return _Ended(Finding(about.processor.name, step, "passed", detail=why, at=about.at, config=about.version), about.stored)
        return _Ended(Finding(about.processor.name, step, "unknown", detail=why, at=about.at, config=about.version), None)

    def _against_stored(self, about: _About, ended: _Ended) -> _Ended:
        """Hold what was computed against what is stored; what is stored goes on, because that is what happened."""
        stored, topic = about.stored, about.processor.lanes["main"]
        if stored is None:
            if about.letter is not None:
                finding = self._stored_letter(about, ended.finding)
                return _Ended(finding, None)
            if topic in self._evidence.expired:
                return _Ended(ended.finding._replace(compared="not kept"), ended.record)
            missing = self._dropped(about, ended.finding)
            return _Ended(missing, None) if missing is not None else _Ended(ended.finding._replace(compared="not kept"), ended.record)
        if ended.record is stored:
            return _Ended(ended.finding._replace(place=place_of(stored, self._prefix), compared="not kept"), stored)
        assert ended.record is not None  # noqa: S101 (asked by the caller)
        found = differences(stored, ended.record)
        return _Ended(ended.finding._replace(place=place_of(stored, self._prefix), compared=compared(found), differences=found), stored)

    def _stored_letter(self, about: _About, finding: Finding) -> Finding:
        letter = about.letter
        assert letter is not None  # noqa: S101 (asked by the caller)
        reason = header(letter, names.DEAD_REASON)
        return finding._replace(
            verdict="dead",
            reason=reason,
            detail=header(letter, names.DEAD_DETAIL),
            place=place_of(letter, self._prefix),
            compared="differs",
            differences=(Change("changed", "/verdict", f"dead: {reason}", "passed"),),
        )

    def _dropped(self, about: _About, finding: Finding) -> Finding | None:
        """Say what the ledger says of an event that the steps let through today, and that was not written."""
        if about.taken is None:
            return None
        reasons = sorted({reason for verdict, reason, _ in about.taken.reasons if verdict == "dropped"})
        if not reasons:
            return None
        return finding._replace(
            verdict="dropped",
            reason=reasons[0],
            detail="the ledger says so; which of its inputs it means is not certain",
            compared="differs",
            differences=(Change("changed", "/verdict", "dropped", "passed"),),
        )


class _About(NamedTuple):
    """What is known of a processor's dealing with the event."""

    processor: Processor
    version: int
    at: int
    stored: Record | None
    letter: Record | None
    taken: Taken | None


def _said(taken: Taken, verdict: str, reason: str) -> bool:
    return any(one == verdict and why == reason for one, why, _ in taken.reasons)


def _body(record: Record) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        return decode(record.value or b"null")[0]
    except ValueError:
        return None
