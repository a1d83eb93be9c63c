"""Takes dead letters out again: each in one Kafka transaction with the record that says so, so that none goes twice, whatever crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from pipeline.dead_letters import Choice, Handled, HandledLetters, Letter, Stays, Way, handled_record, read_letter, way_back
from pipeline.dead_letters.redrive import history
from pipeline.model import headers as names
from pipeline.model.ledger import DEAD_LETTERS, Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output, Record
from pipeline.model.topics import topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker, Transactions
from pipeline.ports.clock import Clock
from pipeline.runtime.translated_anew import TranslateAnew, read_events

BATCH_LETTERS: Final = 1_000
BATCH_BYTES: Final = 4 * 1024 * 1024

How = Literal["judged anew", "mapped anew", "translated anew", "as sent", "discarded"]

MapAnew = Callable[[Letter], Sequence[Output] | str]
"""Makes events of a webhook's delivery by today's mappings; gives records for `raw`, or why there are none."""


class Line(NamedTuple):
    """One kind of thing that was done with letters.

    Attributes:
        stage: Their stage.
        reason: Their reason.
        destination: Id of their destination or storage, or empty.
        topic: Where they went, without prefix; empty where they stay.
        how: How they are judged there; empty where they stay.
        why: Why they stay; empty where they went.
    """

    stage: str
    reason: str
    destination: str
    topic: str = ""
    how: How | Literal[""] = ""
    why: str = ""


class Change(NamedTuple):
    """A request that was translated anew: the letter's place, its body as it was sent, and as it would be sent now."""

    place: str
    before: bytes
    after: bytes


class InForce(NamedTuple):
    """What letters are judged with.

    Attributes:
        topology: The topology that is run.
        workspace: The configuration in force.
        unchanged_since: Since which version each destination has been declared as it is.
        translate: Translates an event anew.
        map_delivery: Makes events of a webhook's delivery.
    """

    topology: Topology
    workspace: Workspace
    unchanged_since: Mapping[str, int]
    translate: TranslateAnew
    map_delivery: MapAnew


class Summary:
    """What was done, or would be.

    Attributes:
        lines: How many letters, by kind.
        changes: For each kind that was translated anew, its first letter.
        earlier: How many of the letters that are meant were handled before.
    """

    def __init__(self) -> None:
        self.earlier = 0
        self.lines: Counter[Line] = Counter()
        self.changes: dict[Line, Change] = {}

    @property
    def done(self) -> int:
        """How many letters need nothing more now."""
        return sum(count for line, count in self.lines.items() if not line.why)

    @property
    def stayed(self) -> int:
        """How many letters were meant and stay as they are."""
        return sum(count for line, count in self.lines.items() if line.why)


class Redriver:
    """Redrives and discards dead letters; of several at a time the one that began last goes on, and the others are fenced.

    Args:
        broker: The cluster.
        in_force: What letters are judged with.
        clock: Time.
        as_sent: Whether a request goes as it was sent, also where it would be another one today.
        rate: Most letters a second, or None for no limit.
    """

    def __init__(self, broker: Broker, in_force: InForce, clock: Clock, *, as_sent: bool = False, rate: float | None = None) -> None:
        self._broker = broker
        self._prefix = in_force.workspace.name
        self._in_force = in_force
        self._clock = clock
        self._as_sent = as_sent
        self._rate = rate

    async def redrive(self, choice: Choice, *, dry_run: bool = False, told: Callable[[int], None] = lambda _count: None) -> Summary:
        """Send the letters that are meant, and open, to where they are judged anew.

        Args:
            choice: Which are meant.
            dry_run: Whether only to say what would be done.
            told: Called with how many letters were looked at since the last call.

        Returns:
            What was done.

        Raises:
            Fenced: Somebody else began to do so; what is not done yet is theirs.
            BrokerError: The broker did not do it; a second run completes it and does nothing twice.
        """
        return await self._run(choice, None, dry_run=dry_run, told=told)

    async def discard(self, choice: Choice, because: str, *, dry_run: bool = False, told: Callable[[int], None] = lambda _count: None) -> Summary:
        """Note that the letters that are meant, and open, need nothing more.

        Args:
            choice: Which are meant.
            because: Why, for who asks later; may be empty.
            dry_run: Whether only to say what would be done.
            told: Called with how many letters were looked at since the last call.

        Returns:
            What was done.

        Raises:
            Fenced: Somebody else began to handle letters.
            BrokerError: The broker did not do it; a second run completes it.
        """
        return await self._run(choice, because, dry_run=dry_run, told=told)

    async def explain(self, letter: Letter) -> tuple[Line, Change | None]:
        """Say what redriving would do with one letter.

        Args:
            letter: The letter.

        Returns:
            What, and how its request would change where it would.
        """
        summary = Summary()
        await self._redriven([letter], summary)
        ((line, _),) = summary.lines.items()
        return line, summary.changes.get(line)

    async def _run(self, choice: Choice, because: str | None, *, dry_run: bool, told: Callable[[int], None]) -> Summary:
        summary = Summary()
        transactions = self._broker.transactions(f"{self._prefix}-{DEAD_LETTERS}")
        try:
            if not dry_run:
                await transactions.start()  # first fence whoever else is at it, then read what was done
            handled = await read_handled(self._broker, self._prefix)
            started = self._clock.monotonic()
            async for letters in self._open_letters(choice, handled, summary, told):
                if because is None:
                    outputs, done, tally = await self._redriven(letters, summary)
                else:
                    outputs, done, tally = self._discarded(letters, summary)
                if done and not dry_run:
                    await self._commit(transactions, outputs, done, tally, Handled("redriven" if because is None else "discarded", 0, because or ""))
                if self._rate is not None:
                    early = (summary.done + summary.stayed) / self._rate - (self._clock.monotonic() - started)
                    await self._clock.sleep(max(0.0, early))
            if not dry_run:
                await self._forget(transactions, handled)
        finally:
            await transactions.stop()
        return summary

    async def _open_letters(
        self, choice: Choice, handled: HandledLetters, summary: Summary, told: Callable[[int], None]
    ) -> AsyncIterator[list[Letter]]:
        most = BATCH_LETTERS if self._rate is None else max(1, min(BATCH_LETTERS, round(self._rate)))
        batch: list[Letter] = []
        size = 0
        async for letters in read_letters(self._broker, self._prefix, choice):
            for letter in letters:
                record = letter.record
                if not choice.holds(letter):
                    continue
                if handled.get(letter.stage, record.partition, record.offset) is not None:
                    summary.earlier += 1
                    continue
                if batch and (len(batch) >= most or size >= BATCH_BYTES or _log_of(batch[0]) != _log_of(letter)):
                    yield batch
                    batch, size = [], 0
                batch.append(letter)
                size += len(record.value or b"")
            told(len(letters))
        if batch:
            yield batch

    async def _redriven(self, letters: Sequence[Letter], summary: Summary) -> tuple[list[Output], list[Letter], Tally]:
        events = {} if self._as_sent else await self._events(letters)
        outputs: list[Output] = []
        done: list[Letter] = []
        tally = Tally()
        for letter in letters:
            ways, how = self._ways(letter, events)
            about = letter.stage, letter.reason, letter.destination
            if isinstance(ways, Stays):
                summary.lines[Line(*about, why=ways.why)] += 1
                continue
            way = ways[0]
            line = Line(*about, way.topic, how)
            summary.lines[line] += 1
            if how == "translated anew" and line not in summary.changes:
                summary.changes[line] = Change(letter.place, letter.record.value or b"", way.value or b"")
            outputs += [Output(topic_name(self._prefix, one.topic), one.key, one.value, one.headers) for one in ways]
            done.append(letter)
            tally.rows[Row(self._source(letter), "", "", "passed", "", letter.destination)] += 1
            tally.lanes[way.topic] += len(ways)
        return outputs, done, tally

    def _discarded(self, letters: Sequence[Letter], summary: Summary) -> tuple[list[Output], list[Letter], Tally]:
        tally = Tally()
        for letter in letters:
            summary.lines[Line(letter.stage, letter.reason, letter.destination, how="discarded")] += 1
            tally.rows[Row(self._source(letter), "", "", "dropped", "discarded", letter.destination)] += 1
        return [], list(letters), tally

    def _source(self, letter: Letter) -> str:
        return letter.source if letter.source in self._in_force.workspace.sources else ""

    def _ways(self, letter: Letter, events: Mapping[str, Record]) -> tuple[Sequence[Way] | Stays, How]:
        """Decide where a letter goes: at least one way, where it does not stay."""
        way = way_back(letter, self._in_force.topology, self._in_force.workspace)
        if isinstance(way, Stays):
            return way, "judged anew"
        if letter.stage == "ingest" and names.WEBHOOK in letter.headers:
            made = self._in_force.map_delivery(letter)
            if isinstance(made, str):
                return Stays(made), "mapped anew"
            return [Way(way.topic, one.key, one.value, (*one.headers, *history(letter))) for one in made], "mapped anew"
        if letter.stage != "deliver":
            return [way], "judged anew"
        if not self._as_sent:
            anew = self._translated(letter, way, events)
            if anew is not way:
                return (anew if isinstance(anew, Stays) else [anew]), "translated anew"
        return [way], "as sent"

    def _translated(self, letter: Letter, way: Way, events: Mapping[str, Record]) -> Way | Stays:
        """Translate a request anew; gives the way as it was where that changes nothing."""
        ident = letter.destination or _text(letter, names.DESTINATION)
        event = events.get(_text(letter, names.EVENT_ORIGIN))
        if event is None:
            if letter.config >= self._in_force.unchanged_since.get(ident, letter.config + 1):
                return way
            return Stays("its event is no longer kept and the destination has changed since; --as-sent sends what was made then")
        made = self._in_force.translate(event, ident, _text(letter, names.MAPPING))
        if isinstance(made, str):
            return Stays(made)
        return way if made.value == way.value else Way(way.topic, made.key, made.value, (*made.headers, *history(letter)))

    async def _events(self, letters: Sequence[Letter]) -> dict[str, Record]:
        return await read_events(self._broker, (_text(letter, names.EVENT_ORIGIN) for letter in letters if letter.stage == "deliver"))

    async def _commit(self, transactions: Transactions, outputs: list[Output], done: Sequence[Letter], tally: Tally, handled: Handled) -> None:
        stage, partition = done[0].stage, done[0].record.partition
        offsets = [letter.record.offset for letter in done]
        now = self._clock.now_ms()
        key, value = handled_record(stage, partition, offsets, handled._replace(at_ms=now))
        outputs.append(Output(topic_name(self._prefix, "handled"), key, value, partition=0))
        topic = f"dead.{stage}"
        ledger = ledger_value(tally, processor=DEAD_LETTERS, topic=topic, partition=partition, start=offsets[0], end=offsets[-1] + 1, at_ms=now)
        outputs.append(Output(topic_name(self._prefix, "ledger"), ledger_key(DEAD_LETTERS, topic, partition), ledger))
        await transactions.commit(outputs, {}, f"{self._prefix}.{DEAD_LETTERS}")

    async def _forget(self, transactions: Transactions, handled: HandledLetters) -> None:
        """Delete what was noted of letters that have expired, so that the topic does not grow for ever."""
        topic = topic_name(self._prefix, "handled")
        outputs = [Output(topic, key, None, partition=0) for key in handled.expired(self._clock.now_ms())]
        if outputs:
            await transactions.commit(outputs, {}, f"{self._prefix}.{DEAD_LETTERS}")


async def read_handled(broker: Broker, prefix: str) -> HandledLetters:
    """Read which letters were handled.

    Args:
        broker: The cluster.
        prefix: The workspace's name.

    Returns:
        They, up to the present end of the topic.

    Raises:
        BrokerError: The topic cannot be read.
    """
    handled = HandledLetters()
    topic = topic_name(prefix, "handled")
    if topic not in await broker.admin().topics():
        return handled  # a cluster of an older release: nothing could be handled there
    async for records in broker.reader().read(topic):
        for record in records:
            handled.take(record.key, record.value)
    return handled


async def read_letters(broker: Broker, prefix: str, choice: Choice) -> AsyncIterator[list[Letter]]:
    """Read dead letters to the present end of their topics.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        choice: Which are meant; others are among what is given too.

    Yields:
        Letters of one partition each, in its order.
    """
    there = await broker.admin().topics()
    for stage in choice.stages():
        topic = topic_name(prefix, f"dead.{stage}")
        if topic not in there:
            continue
        async for records in broker.reader().read(topic, start=choice.start(stage)):
            if records:
                yield [read_letter(record, prefix) for record in records]


def _log_of(letter: Letter) -> tuple[str, int]:
    return letter.stage, letter.record.partition


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _text(letter: Letter, name: str) -> str:
    return (letter.headers.get(name) or b"").decode("utf-8", "replace")
