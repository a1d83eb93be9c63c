"""What became of one event on its way to each destination and storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from pipeline.explain.changes import shown
from pipeline.explain.comparing import compared, differences
from pipeline.explain.evidence import Evidence, Judged, Recomputation, header, number, short_topic
from pipeline.explain.findings import Attempt, Finding, Mapped, Target, place_of
from pipeline.explain.rules import Locate, sources_rule, trigger_of, withheld_rule
from pipeline.mapping import Explanation as QueryPart
from pipeline.mapping import QueryError
from pipeline.mapping import explain as explain_query
from pipeline.model import headers as names
from pipeline.model.json_text import decode
from pipeline.model.record import Record
from pipeline.model.topology import Topology
from pipeline.model.workspace import Destination, MappingDeclaration

VERSIONS_TRIED: Final = 20
"""A request carries the version that routed its event; translate may have run a later one. So many are tried."""
_WORST: Final = {"dead": 0, "parked": 1, "retried": 2, "delivered": 3}
_STATES: Final = {"delivered": "delivered", "retried": "retrying", "dead": "dead", "parked": "parked"}


def targets(
    evidence: Evidence, topology: Topology, again: Recomputation, prefix: str, routed: Record, body: dict[str, Any], locate: Locate
) -> Iterator[Target]:
    """Say what became of an event at every destination and storage of the workspace.

    Args:
        evidence: What was found of it.
        topology: The topology that is run.
        again: Runs the steps again.
        prefix: The workspace's name.
        routed: The event as filter wrote it.
        body: The same, parsed.
        locate: Finds places in the workspace's files.

    Yields:
        Destinations, then storages, in the order of the workspace.
    """
    version = number(routed, names.CONFIG)
    try:
        workspace = again.workspace(version)
    except KeyError:
        return
    seen = _Seen(evidence, topology, again, prefix, routed, body, version, locate)
    routes = set(header(routed, names.ROUTES).split(",")) - {""}
    withheld = dict(seen.withheld())
    source = header(routed, names.SOURCE)
    replayed = {header(one, names.DESTINATION): None for one in evidence.replays}
    for one in workspace.destinations.values():
        if one.id in routes:
            yield seen.destination(one)
        elif one.id in replayed:
            yield seen.replayed(one.id)
        elif source not in one.sources:
            yield Target(one.id, "destination", "not connected", rule=sources_rule(one.id, "destinations", one.sources, locate))
        else:
            reason = withheld.get(one.id, "")
            yield Target(one.id, "destination", "withheld", reason, withheld_rule(one, body, reason, locate))
    for destination in replayed:
        if destination not in workspace.destinations:  # it is younger than the event
            yield seen.replayed(destination)
    for storage in workspace.storage.values():
        if storage.id in routes:
            yield seen.storage(storage.id)
        else:
            yield Target(storage.id, "storage", "not connected", rule=sources_rule(storage.id, "storage", storage.sources, locate))


class _Seen(NamedTuple):
    """The event at the fork, with everything that is known of it."""

    evidence: Evidence
    topology: Topology
    again: Recomputation
    prefix: str
    routed: Record
    body: dict[str, Any]
    version: int
    locate: Locate

    def withheld(self) -> tuple[tuple[str, str], ...]:
        """Give the destinations that filter withheld it from, with reasons."""
        try:
            return self.again.judge("filter", self.routed, self.version).withheld
        except (KeyError, ValueError):
            return ()

    def destination(self, one: Destination) -> Target:
        """Follow it through translate and deliver."""
        translate = next((each for each in self.topology.processors.values() if "translate" in each.steps), None)
        deliver = next((each for each in self.topology.processors.values() if each.kind == "deliver"), None)
        if translate is None or deliver is None:
            return Target(one.id, "destination", "unknown")
        group = f"{translate.name}.{one.id}" if translate.for_each else translate.name
        stored = {header(each, names.MAPPING): each for each in self.evidence.requests if header(each, names.DESTINATION) == one.id}
        finding, mappings = self._translated(one, group, translate.input, stored)
        attempts = self._attempts(one.id)
        replays = self._replays(one.id)
        if not stored and not attempts and not replays:
            state = finding.verdict if finding.verdict in ("waiting", "dropped", "dead") else "unknown"
            return Target(one.id, "destination", state, finding.reason, finding.rule, (finding,), mappings)
        delivered = self._delivered(one.id, f"{deliver.name}.{one.id}", attempts)
        state = delivered.verdict if delivered.verdict in _STATES.values() else "waiting"
        return Target(one.id, "destination", state, delivered.reason, "", (finding, *replays, delivered), mappings, attempts)

    def replayed(self, destination: str) -> Target:
        """Follow what replay jobs made of it for a destination that it was not routed to."""
        attempts = self._attempts(destination)
        deliver = next((each.name for each in self.topology.processors.values() if each.kind == "deliver"), "deliver")
        delivered = self._delivered(destination, f"{deliver}.{destination}", attempts)
        state = delivered.verdict if delivered.verdict in _STATES.values() else "waiting"
        return Target(destination, "destination", state, delivered.reason, "", (*self._replays(destination), delivered), (), attempts)

    def _replays(self, destination: str) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                f"replay.{header(each, names.REPLAY)}",
                "translate",
                "passed",
                detail=f"replay job {header(each, names.REPLAY)} made a request of it",
                at=each.timestamp,
                config=number(each, names.CONFIG),
                place=place_of(each, self.prefix),
            )
            for each in self.evidence.replays
            if header(each, names.DESTINATION) == destination
        )

    def _translated(self, one: Destination, group: str, topic: str, stored: dict[str, Record]) -> tuple[Finding, tuple[Mapped, ...]]:
        evidence = self.evidence
        letter = next((each for each in evidence.dead if self._died_here(each, topic, "translate", one.id)), None)
        if not stored and letter is None and group in evidence.behind:
            return Finding(group, "translate", "waiting", detail="the processor has not come to it yet"), ()
        try:
            version, judged = self._version_of(one, stored)
        except (KeyError, ValueError) as error:
            return Finding(group, "translate", "passed" if stored else "unknown", detail=f"it cannot be run again here: {error}"), ()
        workspace = self.again.workspace(version)
        mappings = tuple(self._mapped(workspace.destinations[one.id], judged, stored))
        at = max((each.timestamp for each in stored.values()), default=evidence.taken[group].at if group in evidence.taken else 0)
        gone = topic in evidence.expired or f"requests.{one.id}" in evidence.expired
        if letter is not None:
            same = judged.verdict == "dead" and judged.reason == header(letter, names.DEAD_REASON)
            finding = Finding(
                group,
                "translate",
                "dead",
                header(letter, names.DEAD_REASON),
                header(letter, names.DEAD_DETAIL),
                at=letter.timestamp,
                config=version,
                place=place_of(letter, self.prefix),
                compared="same" if same else "differs",
            )
        elif judged.verdict == "passed":
            worst = "differs" if any(each.compared == "differs" for each in mappings) else "same" if stored else "not kept" if gone else "differs"
            finding = Finding(group, "translate", "passed", at=at, config=version, compared=worst)
        else:
            taken = evidence.taken.get(group)
            said = "" if taken is None else "same" if any(reason == judged.reason for _, reason, _ in taken.reasons) else "differs"
            finding = Finding(group, "translate", judged.verdict, judged.reason, at=at, config=version, compared="differs" if stored else said)
        return finding, mappings

    def _died_here(self, letter: Record, topic: str, stage: str, destination: str) -> bool:
        here = header(letter, names.DEAD_STAGE) == stage and short_topic(header(letter, names.DEAD_TOPIC), self.prefix) == topic
        return here and header(letter, names.DEAD_DETAIL).startswith(f"{destination}/")

    def _version_of(self, one: Destination, stored: dict[str, Record]) -> tuple[int, Judged]:
        """Find the version that rendered what is stored: that of the event, or the first later one that gives the same bytes."""
        own = self.again.judge("translate", self.routed, self.version, instance=one.id)
        if not stored or self._gives(own, stored):
            return self.version, own
        later = [each for each in self.again.versions() if each > self.version and one.id in self.again.workspace(each).destinations]
        for version in later[:VERSIONS_TRIED]:
            judged = self.again.judge("translate", self.routed, version, instance=one.id)
            if self._gives(judged, stored):
                return version, judged
        return self.version, own

    def _gives(self, judged: Judged, stored: dict[str, Record]) -> bool:
        rendered = {
            dict(each.headers).get(names.MAPPING, b"").decode(): each.value
            for each in judged.outputs
            if short_topic(each.topic, self.prefix).startswith("requests.")
        }
        return rendered == {mapping: each.value for mapping, each in stored.items()}

    def _mapped(self, one: Destination, judged: Judged, stored: dict[str, Record]) -> Iterator[Mapped]:
        outputs = {
            dict(each.headers).get(names.MAPPING, b"").decode(): each for each in judged.outputs if each.topic.rpartition(".")[2] != "translate"
        }
        for index, declared in enumerate(_mappings(one, outputs)):
            output, lies = outputs.get(declared.name), stored.get(declared.name)
            trigger = f"{declared.trigger} ({trigger_of(one, index)})" if one.mappings else declared.trigger
            matched, why = _matched(declared.trigger, self.body)
            found = differences(lies, output) if lies is not None and output is not None else ()
            said = compared(found) if lies is not None and output is not None else "differs" if lies is not None else ""
            content = (lies.value if lies is not None else output.value if output is not None else None) or None
            request = shown(decode(content)[0]) if content is not None else None
            text = trigger if matched or not why else f"{trigger}: {why}"
            yield Mapped(
                declared.name, text, matched or output is not None, request, place_of(lies, self.prefix) if lies is not None else None, said, found
            )
        for name in sorted(stored.keys() - outputs.keys() - {each.name for each in one.mappings}):
            lies = stored[name]
            yield Mapped(
                name, "", matched=True, request=shown(decode(lies.value or b"null")[0]), place=place_of(lies, self.prefix), compared="differs"
            )

    def _attempts(self, destination: str) -> tuple[Attempt, ...]:
        tries = [_attempt(each, self.prefix) for each in self.evidence.attempts if _object(each).get("destination") == destination]
        waiting = [each for each in self.evidence.retries if header(each, names.DESTINATION) == destination]
        found = []
        for one in sorted(tries, key=lambda each: (each.mapping, each.attempt, each.at)):
            waits = [each for each in waiting if header(each, names.MAPPING) == one.mapping and number(each, names.ATTEMPT) == one.attempt]
            over = any(later.mapping == one.mapping and later.attempt > one.attempt for later in tries)
            last = waits[-1] if waits and one.outcome == "retried" and not over else None
            found.append(one if last is None else one._replace(waits_in=place_of(last, self.prefix), until=number(last, names.NOT_BEFORE)))
        return tuple(found)

    def _delivered(self, destination: str, group: str, attempts: Sequence[Attempt]) -> Finding:
        letter = next((each for each in self.evidence.dead if header(each, names.DESTINATION) == destination), None)
        last = {one.mapping: one for one in sorted(attempts, key=lambda each: each.at)}  # a redriven or replayed one counts its tries anew
        newest = min(last.values(), key=lambda one: _WORST.get(one.outcome, 0), default=None)
        if letter is not None and (newest is None or newest.outcome == "dead"):
            return Finding(
                group,
                "deliver",
                "dead",
                header(letter, names.DEAD_REASON),
                header(letter, names.DEAD_DETAIL),
                at=letter.timestamp,
                place=place_of(letter, self.prefix),
            )
        if newest is None:
            return Finding(group, "deliver", "waiting", detail="no try has been made yet")
        tries = f"{len(attempts)} {'try' if len(attempts) == 1 else 'tries'}"
        detail = tries
        if newest.outcome == "retried":
            waits = f"waits in {newest.waits_in}" if newest.waits_in is not None else "waits for its next try"
            detail = f"{tries}; {waits}"
        return Finding(group, "deliver", _STATES.get(newest.outcome, "unknown"), newest.reason, detail, at=newest.at, place=newest.place)

    def storage(self, storage: str) -> Target:
        """Say whether it is in a storage."""
        sink = next((each for each in self.topology.processors.values() if each.for_each == "storage"), None)
        name = f"{sink.name}.{storage}" if sink is not None else storage
        taken = self.evidence.taken.get(name)
        row = self.evidence.rows.get(storage, "")
        letter = next((each for each in self.evidence.dead if header(each, names.DEAD_STAGE) == "lake"), None)
        if letter is not None:
            verdict, reason, detail = "dead", header(letter, names.DEAD_REASON), header(letter, names.DEAD_DETAIL)
        elif row == "stored":
            verdict, reason, detail = "stored", "", "its row is in the lake"
        elif name in self.evidence.behind:
            verdict, reason, detail = "waiting", "", "the lake has not come to it yet"
        elif row == "missing":
            verdict, reason, detail = (
                ("missing", "", "the lake has taken it, and holds no row of it") if taken is not None else ("waiting", "", "not yet")
            )
        else:
            verdict, reason, detail = "stored" if taken is not None else "unknown", "", row and f"the ledger says so; the lake itself: {row}"
        finding = Finding(name, "lake", verdict, reason, detail, at=taken.at if taken is not None else 0)
        return Target(storage, "storage", verdict, reason, findings=(finding,))


def _mappings(one: Destination, outputs: dict[str, Any]) -> Sequence[MappingDeclaration]:
    if one.mappings:
        return one.mappings
    return [MappingDeclaration(name, "the type's own mapping", {}) for name in outputs]


def _matched(trigger: str, body: dict[str, Any]) -> tuple[bool, str]:
    """Say whether an event satisfies a query, and which part of it is false where it does not."""
    try:
        whole = explain_query(trigger, body)
    except QueryError:
        return False, ""
    if whole.value is True:
        return True, ""
    return False, "; ".join(_false_parts(whole))


def _false_parts(part: QueryPart) -> list[str]:
    inner = [text for one in part.parts if isinstance(one.value, bool) for text in _false_parts(one)]
    if inner or part.value is not False:
        return inner
    values = [f"{one.text} is {orjson.dumps(shown(one.value)).decode()}" for one in part.parts if not isinstance(one.value, bool)]
    return [f"{part.text} is false" + (f" ({', '.join(values)})" if values else "")]


def _attempt(record: Record, prefix: str) -> Attempt:
    body = _object(record)
    return Attempt(
        attempt=_number(body.get("attempt")),
        mapping=str(body.get("mapping", "")),
        outcome=str(body.get("outcome", "")),
        status=_number(body.get("status")),
        reason=str(body.get("reason", "")),
        error=str(body.get("error", "")),
        latency_ms=float(body.get("latency_ms", 0) or 0),
        answer=str(body.get("answer", "")),
        at=_number(body.get("at")) or record.timestamp,
        place=place_of(record, prefix),
    )


def _object(record: Record) -> dict[str, Any]:
    try:
        body = orjson.loads(record.value or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
