"""Follows one event from its record in `raw` through every topic, and notes what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from pipeline.app.explain.looking import CLOCKS_MS, Looking, Matches, Transaction
from pipeline.explain import Evidence, Taken
from pipeline.explain.evidence import header, number
from pipeline.explain.explanation import chain_of
from pipeline.model import headers as names
from pipeline.model.ids import partition_of
from pipeline.model.json_text import decode
from pipeline.model.record import Record
from pipeline.model.topics import RETRY_DELAYS
from pipeline.model.topology import Processor, Topology
from pipeline.runtime.judgement import dead_stage

FORWARD: Final = 20_000
"""Offsets that are looked through behind a record where the ledger says nothing."""
COPIES: Final = 20_000
"""Offsets of `raw` behind the first record that are looked through for copies: an SDK sends again within minutes."""
TRIES_MOST: Final = 100
"""Most tries that are followed; four hours of retries are about 15."""


def topics_of(topology: Topology, destinations: Sequence[str]) -> list[str]:
    """List every topic that is looked at, without prefix.

    Args:
        topology: The topology that is run.
        destinations: Ids of destinations, also of former ones.

    Returns:
        The topics.
    """
    chain = chain_of(topology)
    stages = ["ingest", "validate", "enrich", "filter", "translate", "deliver", "lake"]
    return [
        "raw",
        *(processor.lanes["main"] for processor in chain),
        *(f"requests.{one}{ending}" for one in destinations for ending in ("", ".retry", ".replay")),
        *(f"retry.{delay}" for delay in RETRY_DELAYS),
        "deliveries",
        "ledger",
        "blocked",
        *(f"dead.{stage}" for stage in stages),
        *(f"{processor.name}.dedup.changelog" for processor in topology.processors.values() if "dedup" in processor.steps),
    ]


class Gathering:
    """Follows one event.

    Args:
        looking: How topics are looked at.
        topology: The topology that is run.
        evidence: Gets what is found.
    """

    def __init__(self, looking: Looking, topology: Topology, evidence: Evidence) -> None:
        self._looking = looking
        self._topology = topology
        self._evidence = evidence

    async def follow(self, record: Record) -> None:
        """Follow the event from the record that dedup let through.

        Args:
            record: Its record in `raw`; already among the evidence.
        """
        current: Record | None = record
        for processor in chain_of(self._topology):
            if current is None:
                return
            current = await self._through(processor, current)
        if current is not None:
            await self._to_targets(current)

    async def ended_early(self, record: Record) -> None:
        """Note what took a record that went no further than the first processor.

        Args:
            record: A copy in `raw`; already among the evidence.
        """
        first = chain_of(self._topology)[0]
        if await self._taken(first.name, first.input, record) is None:
            self._evidence.behind.add(first.name)

    async def copies(self, record: Record, matches: Matches) -> None:
        """Look for copies of the event behind its first record in `raw`."""
        key = record.partition
        end = min(record.offset + COPIES, self._looking.bounds[("raw", key)][1])  # type: ignore[index]  # a tuple equals the named one
        self._evidence.raw += await self._looking.within("raw", key, record.offset + 1, end, matches)
        self._evidence.searched.append(f"copies: raw/{key} from {record.offset + 1} to {end - 1}")

    async def _through(self, processor: Processor, record: Record) -> Record | None:
        evidence, looking, topic = self._evidence, self._looking, processor.lanes["main"]
        taken = await self._taken(processor.name, processor.input, record)
        matches = self._is_the_event
        partition = record.partition
        if record.key is not None and looking.partitions(topic):
            partition = partition_of(record.key, looking.partitions(topic))
        if taken is not None:
            found = await looking.near(topic, partition, taken.at, matches)
        else:
            found = await looking.forward(topic, partition, record.timestamp - CLOCKS_MS, matches, most=FORWARD)
        if found:
            evidence.records[topic] = found[0]
            return found[0]
        if taken is None:
            evidence.behind.add(processor.name)
            return None
        await self._died(processor, record, taken.at)
        if await looking.is_before(topic, partition, taken.at):
            evidence.expired.add(topic)
        return None

    def _is_the_event(self, record: Record) -> bool:
        evidence = self._evidence
        return (
            _quoted(evidence.message_id) in (record.value or b"")
            and _message_id(record.value) == evidence.message_id
            and (not evidence.source or header(record, names.SOURCE) == evidence.source)
        )

    async def _taken(self, group: str, topic: str, record: Record) -> Transaction | None:
        found = await self._looking.transaction(group, topic, record.partition, record.offset, record.timestamp)
        if found is not None:
            self._evidence.taken[group] = Taken(found.at, tuple(_reasons(found.rows, self._evidence.source)))
        return found

    async def _died(self, processor: Processor, record: Record, at_ms: int) -> None:
        """Look for the dead letter of a record, around the time at which it was taken."""
        origin = (record.topic, record.partition, record.offset)

        def matches(letter: Record) -> bool:
            return (header(letter, names.DEAD_TOPIC), number(letter, names.DEAD_PARTITION), number(letter, names.DEAD_OFFSET)) == origin

        stages = dict.fromkeys(dead_stage(step) for step in processor.steps) or {processor.name: None}
        for topic in dict.fromkeys(processor.lanes.get("dead", "dead.{stage}").replace("{stage}", stage) for stage in stages):
            self._evidence.dead += await self._looking.near(topic, 0, at_ms, matches)
        if "blocked" in processor.lanes:
            self._evidence.dead += await self._looking.near("blocked", 0, at_ms, self._is_the_event)

    async def _to_targets(self, routed: Record) -> None:
        routes = [one for one in header(routed, names.ROUTES).split(",") if one]
        for processor in self._topology.processors.values():
            if "translate" in processor.steps:
                for destination in (one for one in routes if ("requests." + one, 0) in self._looking.bounds):
                    group = f"{processor.name}.{destination}" if processor.for_each else processor.name
                    await self._translated(processor, group, destination, routed)
                await self._replayed(routed, [key.topic.removesuffix(".replay") for key in self._looking.bounds if key.topic.endswith(".replay")])
            elif processor.for_each == "storage":
                for storage in (one for one in routes if ("requests." + one, 0) not in self._looking.bounds):
                    group = f"{processor.name}.{storage}"
                    if await self._taken(group, processor.input, routed) is None:
                        self._evidence.behind.add(group)
                    else:
                        await self._died(processor, routed, self._evidence.taken[group].at)

    async def _translated(self, processor: Processor, group: str, destination: str, routed: Record) -> None:
        looking, evidence = self._looking, self._evidence
        taken = await self._taken(group, processor.input, routed)
        if taken is None:
            evidence.behind.add(group)
        topic = f"requests.{destination}"
        found: list[Record] = []
        for partition in self._request_partitions(topic, routed):
            if taken is not None:
                found += await looking.near(topic, partition, taken.at, self._is_request)
            else:
                found += await looking.forward(topic, partition, routed.timestamp - CLOCKS_MS, self._is_request, most=FORWARD)
        evidence.requests += found
        if not found and taken is not None:
            before = len(evidence.dead)
            await self._died(processor, routed, taken.at)
            if len(evidence.dead) == before and await looking.is_before(topic, routed.partition, taken.at):
                evidence.expired.add(topic)
        for request in found:
            await self._attempts(destination, topic, request)
        if any(header(letter, names.DESTINATION) == destination for letter in evidence.dead):
            await self._redriven(f"{topic}.retry", destination, routed)

    def _is_request(self, record: Record) -> bool:
        evidence = self._evidence
        own = dict(record.headers).get(names.MESSAGE_ID) == evidence.message_id.encode()
        return own and header(record, names.SOURCE) in ("", evidence.source)

    async def _redriven(self, topic: str, destination: str, routed: Record) -> None:
        """Follow what a person gave back to a destination after it had died."""
        known = {(one.topic, one.partition, one.offset) for one in self._evidence.retries}
        for partition in self._request_partitions(topic, routed):
            for request in await self._looking.since(topic, partition, routed.timestamp - CLOCKS_MS, self._is_request, most=FORWARD):
                if (request.topic, request.partition, request.offset) not in known:
                    self._evidence.retries.append(request)
                    await self._attempts(destination, topic, request)

    async def _replayed(self, routed: Record, topics: Sequence[str]) -> None:
        """Follow what replay jobs made of the event, for destinations that it was routed to and for others."""
        for live in dict.fromkeys(topics):
            topic = f"{live}.replay"
            for partition in self._request_partitions(topic, routed):
                for request in await self._looking.since(topic, partition, routed.timestamp - CLOCKS_MS, self._is_request, most=FORWARD):
                    self._evidence.replays.append(request)
                    await self._attempts(live.removeprefix("requests."), topic, request)

    def _request_partitions(self, topic: str, routed: Record) -> list[int]:
        """Give where requests of the event can lie: under its key, or under the user where the destination keeps users in order."""
        count = self._looking.partitions(topic)
        keys = [routed.key]
        body = _body(routed.value)
        user = body.get("userId")
        if isinstance(user, str) and user:
            keys.append(user.encode())
        return list(dict.fromkeys(routed.partition if key is None else partition_of(key, count) for key in keys))

    async def _attempts(self, destination: str, topic: str, request: Record) -> None:
        """Follow the tries: each that failed names the time before which the next is not made."""
        looking, evidence = self._looking, self._evidence
        count = looking.partitions("deliveries")
        if not count:
            return
        mapping = header(request, names.MAPPING)
        message_id = evidence.message_id.encode()
        partition = request.partition % count  # tries are written beside their request

        def matches(record: Record) -> bool:
            if record.key != message_id:
                return False
            body = _body(record.value)
            return body.get("destination") == destination and body.get("mapping") == mapping and body.get("source") in ("", evidence.source)

        since = await self._first_try_at(destination, topic, request)
        for _ in range(TRIES_MOST):
            found = await looking.forward("deliveries", partition, since - CLOCKS_MS, lambda one: matches(one) and not self._known(one), most=FORWARD)
            if not found:
                return
            evidence.attempts += found
            for attempt in found:
                since = await self._after(destination, request, attempt)
            if not since:
                return

    async def _after(self, destination: str, request: Record, attempt: Record) -> int:
        """Note what followed a try, and give when the next may have been made (milliseconds since the epoch); 0 where there is none."""
        outcome, mapping = _body(attempt.value).get("outcome"), header(request, names.MAPPING)
        if outcome == "retried":
            return await self._next_try_at(destination, mapping, request.key, attempt)
        if outcome == "dead":
            letters = await self._looking.near("dead.deliver", 0, attempt.timestamp, lambda one: self._is_letter_of(one, destination, mapping))
            self._evidence.dead += letters
        return attempt.timestamp if outcome == "parked" else 0

    def _known(self, record: Record) -> bool:
        return any((one.partition, one.offset) == (record.partition, record.offset) for one in self._evidence.attempts)

    def _is_letter_of(self, record: Record, destination: str, mapping: str) -> bool:
        wanted = (self._evidence.message_id, destination, mapping)
        return (header(record, names.MESSAGE_ID), header(record, names.DESTINATION), header(record, names.MAPPING)) == wanted

    async def _first_try_at(self, destination: str, topic: str, request: Record) -> int:
        """Give a time from which on the first try is to be found: that of the request, or later where deliver came to it much later."""
        deliver = next((one for one in self._topology.processors.values() if one.kind == "deliver"), None)
        if deliver is None:
            return request.timestamp
        group = f"{deliver.name}.{destination}"
        taken = await self._taken(group, topic, request)
        if taken is None:
            return request.timestamp
        # It ended in this transaction or in one before it, as long as a destination's window was open; a backlog lies before that.
        return max(request.timestamp, taken.at - 60_000)

    async def _next_try_at(self, destination: str, mapping: str, key: bytes | None, attempt: Record) -> int:
        looking, evidence = self._looking, self._evidence
        tried = _body(attempt.value).get("attempt")

        def matches(record: Record) -> bool:
            return self._is_letter_of(record, destination, mapping) and number(record, names.ATTEMPT) == tried

        around = attempt.timestamp - CLOCKS_MS // 2, attempt.timestamp + CLOCKS_MS // 2
        for delay in RETRY_DELAYS:
            topic = f"retry.{delay}"
            if looking.partitions(topic):
                partition = partition_of(destination.encode() + b"/" + (key or b""), looking.partitions(topic))
                found = await looking.between(topic, partition, *around, matches)
                if found:
                    evidence.retries += found
                    due = number(found[0], names.NOT_BEFORE)
                    if due > evidence.now_ms:
                        return 0
                    await self._due_again(destination, key, due, matches)
                    return due
        return 0

    async def _due_again(self, destination: str, key: bytes | None, due_ms: int, matches: Matches) -> None:
        """Look for the request where it waits to be taken before live traffic."""
        topic = f"requests.{destination}.retry"
        count = self._looking.partitions(topic)
        if count:
            partition = 0 if key is None else partition_of(key, count)
            self._evidence.retries += await self._looking.forward(topic, partition, due_ms - CLOCKS_MS, matches, most=FORWARD)


def _reasons(rows: Sequence[Sequence[Any]], source: str) -> list[tuple[str, str, str]]:
    return [(str(row[3]), str(row[4]), str(row[5])) for row in rows if len(row) == 7 and row[3] != "passed" and row[0] in ("", source)]


def _quoted(message_id: str) -> bytes:
    return orjson.dumps(message_id)


def _message_id(value: bytes | None) -> object:
    return _body(value).get("messageId")


def _body(value: bytes | None) -> dict[str, Any]:
    try:
        body = decode(value or b"{}")[0]
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
