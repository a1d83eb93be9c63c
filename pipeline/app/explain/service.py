"""Explains one event: finds it, follows it, and runs its way again."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from pipeline.app.explain.configurations import read_versions
from pipeline.app.explain.gathering import Gathering, topics_of
from pipeline.app.explain.looking import Looking, Progress
from pipeline.app.explain.rows import row_state
from pipeline.assembly import Judges
from pipeline.assembly.recompute import Rerun, Version
from pipeline.dedup import digest, unpack
from pipeline.explain import Evidence, Explanation, Place
from pipeline.explain.evidence import header, number
from pipeline.explain.explanation import explain
from pipeline.explain.rules import Locate
from pipeline.model import headers as names
from pipeline.model.json_text import decode
from pipeline.model.record import Record
from pipeline.ports.broker import Broker, BrokerError
from pipeline.ports.clock import Clock
from pipeline.runtime.dedup_state import WINDOW_MS

LETTERS: Final = 50_000
"""Dead letters of a stage that are looked through, newest first."""
WAITING: Final = 50_000
"""Records of a partition of `raw` that validate has not taken yet, looked through, newest first."""
_SLICE: Final = 10_000
_PLACE: Final = re.compile(r"(?P<topic>[a-z0-9][\w.-]*)/(?P<partition>\d{1,5})/(?P<offset>\d{1,18})")


class Seen(NamedTuple):
    """Where dedup first saw a message: partition and offset of `raw` (None where it kept none), and broker time in milliseconds."""

    partition: int
    offset: int | None
    at_ms: int


AskDedup = Callable[[bytes], Awaitable[tuple[list[Seen], int]]]
"""Asks every process that keeps dedup state for a digest; gives what they know, and how many answered."""


class Explainer:
    """Explains events of one workspace.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        judges: What steps need, the topology among it.
        clock: Time.
        ask_dedup: Asks the running processes.
        lake_root: Resolves the path of a storage's folder; raises ValueError where a secret is missing.
        locate: Finds places in the workspace's files.
        progress: Told what is read where that may take longer.
    """

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        judges: Judges,
        *,
        clock: Clock,
        ask_dedup: AskDedup,
        lake_root: Callable[[str], Path],
        locate: Locate = lambda _path: "",
        progress: Progress = lambda _text: None,
    ) -> None:
        self._broker = broker
        self._prefix = prefix
        self._judges = judges
        self._clock = clock
        self._ask_dedup = ask_dedup
        self._lake_root = lake_root
        self._locate = locate
        self._progress = progress

    async def explain(self, wanted: str, source: str = "") -> Explanation:
        """Explain one event.

        Args:
            wanted: Its message id, or the place of a record of it (`raw/2/881`, `dead.validate/0/3`).
            source: Its source; empty to look in all.

        Returns:
            The explanation; where nothing was found it says what was looked through.

        Raises:
            BrokerError: The cluster does not answer.
        """
        versions = await read_versions(self._broker, self._prefix)
        destinations = sorted({one for version in versions.values() for one in version.workspace.destinations})
        looking = Looking(self._broker.lookup(), self._prefix, self._progress)
        evidence = Evidence(wanted, source, self._clock.now_ms())
        try:
            await looking.start(topics_of(self._judges.topology, destinations))
            await _Finding(self, looking, evidence, versions).find()
            evidence.given_up = looking.given_up
        finally:
            await looking.stop()
        await self._rows(evidence, versions)
        return explain(evidence, self._judges.topology, Rerun(self._judges, versions), self._prefix, self._locate)

    def located_by(self, locate: Locate) -> None:
        """Have rules named with their place in files.

        Args:
            locate: Finds places in the workspace's files.
        """
        self._locate = locate

    async def _rows(self, evidence: Evidence, versions: dict[int, Version]) -> None:
        last = next(reversed(evidence.records.values()), None)
        if last is None or not versions:
            return
        workspace = versions[max(versions)].workspace
        for storage in header(last, names.ROUTES).split(","):
            declared = workspace.storage.get(storage)
            if declared is not None:
                try:
                    root = self._lake_root(str(declared.settings["path"]))
                except (ValueError, KeyError) as error:
                    evidence.rows[storage] = f"its folder is not known here: {error}"
                    continue
                evidence.rows[storage] = row_state(root, last, evidence.message_id)

    # ---- what the search below needs of it

    @property
    def topology(self) -> Judges:
        """What steps need, the topology among it."""
        return self._judges


class _Finding:
    """One search: by what dedup knows, by dead letters, by what waits, by what is older than dedup's window."""

    def __init__(self, explainer: Explainer, looking: Looking, evidence: Evidence, versions: dict[int, Version]) -> None:
        self._explainer = explainer
        self._looking = looking
        self._evidence = evidence
        self._versions = versions
        self._topology = explainer._judges.topology  # noqa: SLF001 (two halves of one thing)
        self._gathering = Gathering(looking, self._topology, evidence)

    async def find(self) -> None:
        """Fill the evidence."""
        place = _place(self._evidence.message_id, self._explainer._prefix)  # noqa: SLF001 (the same)
        if place is not None and (place.topic, place.partition) in self._looking.bounds:
            await self._by_place(place)
            return
        for look in (self._by_dedup, self._by_letters, self._by_waiting, self._by_age):
            record = await look()
            if record is not None:
                await self._follow(record)
            if self._evidence.found:
                return

    async def _by_place(self, place: Place) -> None:
        record = await self._looking.record(*place)
        self._evidence.searched.append(f"the record at {place}")
        if record is None:
            return
        if place.topic == "raw":
            self._know(record)
            first = await self._by_dedup() if self._evidence.source else None
            if first is not None and (first.partition, first.offset) != (record.partition, record.offset):
                self._evidence.raw, self._evidence.first_seen = [record], f"raw/{first.partition}/{first.offset}"
                await self._gathering.ended_early(record)
                return
            await self._follow(record)
            return
        message_id = _id_of(record) or header(record, names.MESSAGE_ID)
        if message_id and not place.topic.startswith("dead.ingest"):
            self._evidence.message_id = message_id
            self._evidence.source = self._evidence.source or header(record, names.SOURCE)
            found = await self._by_dedup()
            if found is not None:
                await self._follow(found)
                return
        if place.topic.startswith("dead."):
            found = await self._letter(record)
            if found is not None:
                await self._follow(found)

    def _know(self, record: Record) -> None:
        self._evidence.source = self._evidence.source or header(record, names.SOURCE)
        self._evidence.message_id = _id_of(record) or self._evidence.message_id

    async def _follow(self, record: Record) -> None:
        evidence = self._evidence
        evidence.raw = [record]
        evidence.source = evidence.source or header(record, names.SOURCE)
        derived = self._validated_id(record)
        if derived:
            evidence.message_id = derived
        await self._gathering.copies(record, self._is_it)
        await self._gathering.follow(record)

    def _validated_id(self, record: Record) -> str:
        """Give the id that validate gives a record which came without one."""
        if not self._versions:
            return ""
        again = Rerun(self._explainer.topology, self._versions)
        try:
            judged = again.judge("validate", record, again.version_at(record.timestamp))
        except (ValueError, KeyError):
            return ""
        body = _body(judged.outputs[-1].value) if judged.verdict == "passed" and judged.outputs else {}
        found = body.get("messageId")
        return found if isinstance(found, str) else ""

    def _is_it(self, record: Record) -> bool:
        evidence = self._evidence
        if orjson.dumps(evidence.message_id)[1:-1] not in (record.value or b""):
            return False
        return _id_of(record) == evidence.message_id and header(record, names.SOURCE) in ("", evidence.source)

    # ---- the four ways to find it

    async def _by_dedup(self) -> Record | None:
        evidence, looking = self._evidence, self._looking
        sources = [evidence.source] if evidence.source else sorted({one for version in self._versions.values() for one in version.workspace.sources})
        answered = 0
        for source in sources:
            seen, count = await self._explainer._ask_dedup(digest(source, evidence.message_id))  # noqa: SLF001 (two halves of one thing)
            answered = max(answered, count)
            for one in seen:
                record = await self._at(one, source)
                if record is not None:
                    evidence.source = source
                    evidence.searched.append(f"dedup state of the running processes: source {source}, raw/{record.partition}/{record.offset}")
                    return record
        if answered:
            evidence.searched.append(f"dedup state of {answered} running processes, for the sources {', '.join(sources)}: not there")
            return None
        wanted = {digest(source, evidence.message_id): source for source in sources}
        for processor in self._topology.processors.values():
            if "dedup" in processor.steps and looking.partitions(f"{processor.name}.dedup.changelog"):
                record = await self._by_changelog(f"{processor.name}.dedup.changelog", wanted)
                if record is not None:
                    return record
        return None

    async def _by_changelog(self, topic: str, wanted: dict[bytes, str]) -> Record | None:
        """Read the packed digests of a changelog where no process answers."""
        looking = self._looking
        for partition in range(looking.partitions(topic)):
            first, end = looking.bounds[topic, partition]  # type: ignore[index]  # a tuple equals the named one
            looking.progress(f"no process answers: reading {topic}/{partition}")
            async for records in looking.read(topic, partition, first, end):
                for record in records:
                    for name, source in wanted.items():
                        if record.value is not None and record.value.find(name) >= 0:
                            entry = unpack(record.value).seen(name)
                            offset = entry.offset if entry is not None and entry.offset >= 0 else None
                            found = await self._at(Seen(partition, offset, entry.at_ms), source) if entry is not None else None
                            if found is not None:
                                self._evidence.source = source
                                self._evidence.searched.append(f"{topic}/{partition}: source {source}, raw/{found.partition}/{found.offset}")
                                return found
            self._evidence.searched.append(f"{topic}/{partition} from {first} to {end - 1}: not there")
        return None

    async def _at(self, seen: Seen, source: str) -> Record | None:
        """Read the record that dedup means."""
        if seen.offset is not None:
            record = await self._looking.record("raw", seen.partition, seen.offset)
            if record is not None:
                return record
        self._evidence.source = source
        found = await self._looking.between("raw", seen.partition, seen.at_ms, seen.at_ms + 1, self._is_it)
        if not found:
            self._evidence.searched.append(f"dedup saw it at {seen.at_ms} in raw/{seen.partition}, which no longer keeps that place")
            self._evidence.expired.add("raw")
        return found[0] if found else None

    async def _by_letters(self) -> Record | None:
        looking, evidence = self._looking, self._evidence
        needle = orjson.dumps(evidence.message_id)[1:-1]
        for topic in ("dead.validate", "dead.ingest"):
            bounds = looking.bounds.get((topic, 0))  # type: ignore[call-overload]  # a tuple equals the named one
            if bounds is None:
                continue
            first, end = bounds
            high = end
            while high > max(first, end - LETTERS):
                low = max(first, high - _SLICE)
                looking.progress(f"reading {topic} back from offset {high}")
                found = await looking.within(
                    topic,
                    0,
                    low,
                    high,
                    lambda one: needle in (one.value or b"") and (not evidence.source or header(one, names.SOURCE) == evidence.source),
                )
                if found:
                    evidence.searched.append(f"{topic} from {low} on")
                    return await self._letter(found[-1])
                high = low
            evidence.searched.append(
                f"{topic} from {max(first, end - LETTERS)} to {end - 1}: not there" if end > first else f"{topic}, which is empty"
            )
        return None

    async def _letter(self, letter: Record) -> Record | None:
        """Note a dead letter; gives the record of `raw` that died, where it is still there."""
        evidence = self._evidence
        evidence.dead.append(letter)
        topic = header(letter, names.DEAD_TOPIC).removeprefix(f"{self._explainer._prefix}.")  # noqa: SLF001 (two halves of one thing)
        if topic != "raw":
            return None
        record = await self._looking.record("raw", number(letter, names.DEAD_PARTITION), number(letter, names.DEAD_OFFSET))
        if record is None:
            evidence.expired.add("raw")
            # Its bytes are kept whole in the letter.
            own = tuple(pair for pair in letter.headers if not pair[0].startswith("dead_"))
            place = (number(letter, names.DEAD_PARTITION), number(letter, names.DEAD_OFFSET))
            record = Record(header(letter, names.DEAD_TOPIC), *place, letter.timestamp, letter.key, letter.value, own)
        return record

    async def _by_waiting(self) -> Record | None:
        """Look at what validate has not come to yet."""
        looking, prefix = self._looking, self._explainer._prefix  # noqa: SLF001 (two halves of one thing)
        first = next((one.name for one in self._topology.processors.values() if one.input == "raw"), "")
        try:
            lags = await self._explainer._broker.admin().lags(f"{prefix}.{first}", [f"{prefix}.raw"])  # noqa: SLF001 (the same)
        except BrokerError:
            return None
        for (_, partition), lag in lags.items():
            end = looking.bounds["raw", partition][1]  # type: ignore[index]  # a tuple equals the named one
            start = end - min(lag, WAITING)
            if lag:
                found = await looking.within("raw", partition, start, end, self._is_it_anywhere)
                self._evidence.searched.append(f"raw/{partition} from {start} to {end - 1}, which {first} has not taken yet")
                if found:
                    return found[0]
        return None

    def _is_it_anywhere(self, record: Record) -> bool:
        evidence = self._evidence
        return _id_of(record) == evidence.message_id and (not evidence.source or header(record, names.SOURCE) in ("", evidence.source))

    async def _by_age(self) -> Record | None:
        """Read what dedup has forgotten: the part of `raw` that is older than its window. This takes long, and is said."""
        looking = self._looking
        needle = orjson.dumps(self._evidence.message_id)[1:-1]
        border = self._evidence.now_ms - WINDOW_MS
        for partition in range(looking.partitions("raw")):
            first, _ = looking.bounds["raw", partition]  # type: ignore[index]  # a tuple equals the named one
            end = await looking.offset_at("raw", partition, border)
            place = first
            async for records in looking.read("raw", partition, first, end):
                for record in records:
                    if needle in (record.value or b"") and self._is_it_anywhere(record):
                        self._evidence.searched.append(f"raw/{partition} from {first} to {record.offset}")
                        return record
                place = records[-1].offset
                looking.progress(f"older than dedup remembers: reading raw/{partition}, offset {place} of {end}")
            oldest = f"; the oldest record there is at {first}" if first else ""
            self._evidence.searched.append(f"raw/{partition} before the last 24 hours ({end - first} offsets{oldest}): not there")
        return None


def _place(text: str, prefix: str) -> Place | None:
    match = _PLACE.fullmatch(text.removeprefix(f"{prefix}."))
    return Place(match["topic"], int(match["partition"]), int(match["offset"])) if match else None


def _id_of(record: Record) -> str:
    found = _body(record.value).get("messageId")
    return found if isinstance(found, str) else str(found) if isinstance(found, int) and not isinstance(found, bool) else ""


def _body(value: bytes | None) -> dict[str, object]:
    try:
        body = decode(value or b"{}")[0]
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
