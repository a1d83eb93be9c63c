"""A whole topology in memory: bytes in, bytes out, the clock moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from pipeline.assembly import HostMaker, Judges, Outside
from pipeline.declaration import TopologyRules, config_records, load_topology
from pipeline.model import headers as names
from pipeline.model.ids import event_key
from pipeline.model.record import Output, Record
from pipeline.model.topics import declared_topics, topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.registry import ENRICHMENTS, STEPS
from pipeline.replay.board import job_record
from pipeline.replay.jobs import Job
from pipeline.resources import resource
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.http.memory import Answering, MemoryHttpClient, an_answer
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.processors import ProcessorRunner
from pipeline.runtime.replay.jobs import Jobs
from pipeline.runtime.replay.runner import JobsRunner
from pipeline.runtime.stores.memory import MemoryDedupStore
from pipeline.testing.builders import as_bytes
from pipeline.testing.clock import HandClock
from pipeline.testing.loop import JumpingLoop
from pipeline.testing.outside import CrashingBroker, Moment, resolver, with_storage_under

START_MS: Final = 1_767_225_600_000
"""Where a driver's clock begins: 2026-01-01T00:00:00Z."""
_CALM_SECONDS: Final = 2.0
"""Loop time (which costs nothing) without a write after which nothing more comes; the runtime's own waits are shorter."""
_LOOK_SECONDS: Final = 0.25
_GIVE_UP_SECONDS: Final = 600.0
_CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")


class Driver:
    """Runs every processor of a topology on a broker, a store and an HTTP client in memory; nothing of it is faked but the outside.

    Use it as a context manager, from plain (not `async`) tests::

        with Driver(Path("topologies/default.yaml"), workspace) as driver:
            driver.send(event(event="Order Completed"), source="web")
            driver.run_until_idle()
            assert 1 == len(driver.read("requests.crm"))

    Time stands still but for `advance`: what waits for time (a retry's delay, the second in which a lake gathers rows) waits for that.

    Args:
        topology: A topology, or the path of its file.
        workspace: What is declared; becomes version 1. Its storage lies under a folder of the driver, whatever path it names.
        now_ms: Where the clock begins, milliseconds since the epoch.
        answering: Makes the answers of all tools; 200 for everything unless given.
        secrets: Values for `${env:NAME}` and `${file:PATH}` by NAME or PATH.

    Attributes:
        topology: The topology.
        clock: The clock; move it with `advance`.
        broker: The broker, for what `write` and `read` do not show.
        metrics: What was counted.
        http: What was sent to tools is in `http.requests`.
        root: Folder of all storage; gone when the driver is closed.

    Raises:
        DeclarationError: The topology's file is wrong.
        ValueError: The workspace is wrong.
    """

    def __init__(
        self,
        topology: Topology | Path,
        workspace: Workspace,
        *,
        now_ms: int = START_MS,
        answering: Answering = lambda _request: an_answer(),
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.topology = topology if isinstance(topology, Topology) else read_topology(topology)
        self.clock = HandClock(now_ms)
        self.broker = CrashingBroker(self.clock)
        self.metrics = MemoryMetrics()
        self.http = MemoryHttpClient(answering)
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-driver-")
        self.root = Path(self._folder.name)
        self._prefix = workspace.name
        self._version = 0
        self._stores: dict[tuple[str, int], MemoryDedupStore] = {}
        self._runners: list[ProcessorRunner | JobsRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._following: list[asyncio.Task[None]] = []
        self._jobs: Jobs
        self._configuration: Configuration
        self._asyncio = asyncio.Runner(loop_factory=JumpingLoop)
        self._loop = self._asyncio.get_loop()
        try:
            self._asyncio.run(self._start(partial(resolver, dict(secrets or {}))))
            self.apply(workspace)
        except BaseException:
            self.close()
            raise

    async def _start(self, resolve: Any) -> None:  # noqa: ANN401 (a partial)
        schemas = resource("schemas")
        for topic in ("config", "jobs"):
            self.broker.create(topic_name(self._prefix, topic), 1)
        self._configuration = Configuration(self.broker, self._prefix, orjson.loads((schemas / "workspace.json").read_bytes()))
        calls = {call: orjson.loads((schemas / "calls" / f"{call}.json").read_bytes()) for call in _CALLS}
        outside = Outside(self.broker, self.clock, self.metrics, self.http, self._open_store)
        maker = HostMaker(Judges(self.topology, calls, resolve), self._configuration, outside)
        self._jobs = Jobs(self.broker, self._prefix, self.clock)
        self._runners = [
            JobsRunner(processor, self.topology, self._configuration, self._jobs, maker.for_job, self.broker, self.clock)
            if processor.kind == "replay"
            else ProcessorRunner(processor, self._configuration, maker, self._jobs)
            for processor in self.topology.processors.values()
        ]
        self._tasks = [asyncio.create_task(runner.run(), name=runner.processor.name) for runner in self._runners]
        self._following = [asyncio.create_task(self._configuration.run()), asyncio.create_task(self._jobs.run())]

    def _open_store(self, group: str, partition: int, max_ids: int) -> MemoryDedupStore:
        return self._stores.setdefault((group, partition), MemoryDedupStore(max_ids))

    def __enter__(self) -> Self:
        """Give the driver."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the driver."""
        self.close()

    def close(self) -> None:
        """Stop all processors as a signal would, and remove the driver's files."""
        with contextlib.suppress(Exception):  # what ended a processor was raised where it was noticed
            self._asyncio.run(self._stop())
        self._asyncio.close()
        self._folder.cleanup()

    async def _stop(self) -> None:
        for runner in self._runners:
            runner.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    def apply(self, workspace: Workspace) -> int:
        """Publish a configuration as `headrace apply` does, and run until all processors have taken it over.

        Args:
            workspace: What is declared now, under the same name.

        Returns:
            The version that it became.

        Raises:
            ValueError: It has another name, or the processors refuse it.
        """
        if workspace.name != self._prefix:
            raise ValueError(f"the workspace is {self._prefix}, not {workspace.name}")
        dedup = self.topology.dedup_windows
        ordered = [one.id for one in workspace.destinations.values() if one.order == "user"]
        for topic in declared_topics(
            self._prefix,
            destinations=workspace.destinations,
            storages=workspace.storage,
            dedup_processors=dedup,
            ordered=ordered,
            partitions=self.topology.partitions,
        ):
            self.broker.create(topic.name, topic.partitions)
        self._version += 1
        records = config_records(with_storage_under(self.root, workspace), self._version, at_ms=self.clock.now_ms())
        self.broker.append([Output(topic_name(self._prefix, "config"), key, value) for key, value in records])
        self._asyncio.run(self._settle())
        in_force = self._configuration.workspace
        if in_force is None or in_force.version != self._version:
            raise ValueError(f"version {self._version} of the workspace was refused")
        self.run_until_idle()
        return self._version

    def write(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | Mapping[str, Any] | None,
        headers: Mapping[str, bytes | None] | None = None,
        *,
        partition: int | None = None,
    ) -> None:
        """Write a record as any Kafka client may.

        Args:
            topic: Topic without prefix.
            key: Key bytes, or None.
            value: Bytes as they are, a JSON object, or None for a tombstone.
            headers: Headers by name.
            partition: Partition number; None for the one of the key (0 without key).
        """
        pairs: Any = tuple((headers or {}).items())
        content = None if value is None else as_bytes(value)
        self.broker.append([Output(topic_name(self._prefix, topic), key, content, pairs, partition)])

    def send(self, event: Mapping[str, Any], *, source: str) -> None:
        """Write an event to `raw` as the collector does: under its key, with source and time in the headers.

        Args:
            event: The spec message.
            source: Source id.
        """
        headers = {names.SOURCE: source.encode(), names.RECEIVED_AT: b"%d" % self.clock.now_ms()}
        self.write("raw", event_key(dict(event)), event, headers)

    def replay(self, job: Job) -> None:
        """Start a replay job, as `headrace replay` does.

        Args:
            job: The job; its spans may be given with `spans`.
        """
        key, value = job_record(job)
        self.write("jobs", key, value)

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Give the range of all that lies in a topic, for a job.

        Args:
            topic: Topic without prefix.

        Returns:
            First offset and offset after the last record, by partition.
        """
        return {number: (0, len(records)) for number, records in enumerate(self.broker.log(topic_name(self._prefix, topic)))}

    def read(self, topic: str) -> list[Record]:
        """Read everything that is in a topic.

        Args:
            topic: Topic without prefix.

        Returns:
            Its records in the order of partition and offset; each keeps the full topic name.

        Raises:
            BrokerError: There is no such topic.
        """
        return [record for partition in self.broker.log(topic_name(self._prefix, topic)) for record in partition]

    def ledger(self) -> list[dict[str, Any]]:
        """Read the ledger, one object for each transaction (`schemas/ledger.json`)."""
        return [orjson.loads(record.value or b"{}") for record in self.read("ledger")]

    def totals(self, processor: str) -> dict[str, int]:
        """Add the ledger of a processor up.

        Args:
            processor: Name of the processor, or of one of its groups (`translate.crm`).

        Returns:
            How many records came in, and how many of them passed, were dropped, died and were blocked.
        """
        totals = dict.fromkeys(("in", "passed", "dropped", "dead", "blocked"), 0)
        for entry in self.ledger():
            if entry["processor"] == processor or entry["processor"].startswith(f"{processor}."):
                for name in totals:
                    totals[name] += entry[name]
        return totals

    def rows(self, storage: str) -> list[dict[str, Any]]:
        """Read the rows of a lake that count, as its manifest lists them.

        Args:
            storage: Id of the storage.

        Returns:
            The rows of all calls, in the order of partition and offset range; columns differ from call to call.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 (30 MB that only a test of a lake should carry)

        from pipeline.runtime.lake.chain import MANIFEST, read_chain  # noqa: PLC0415 (the same)

        root = self.root / storage
        chains = sorted((root / MANIFEST).iterdir()) if (root / MANIFEST).is_dir() else []
        files = [file.path for chain in chains for entry in read_chain(chain) for file in entry.files]
        return [row for path in files for row in pq.ParquetFile(root / path).read().to_pylist()]

    def run_until_idle(self) -> None:
        """Let all processors work until nothing is left that they can do without time going on.

        Raises:
            RuntimeError: The work does not end (a processor tries the same again and again), or the breaker stopped a processor.
            Exception: What ended a processor, as it would end its process.
        """
        self._asyncio.run(self._settle())

    def advance(self, seconds: float) -> None:
        """Let time go on, and run until idle. Everything that falls due on the way happens at its own time, in order.

        Args:
            seconds: How long.
        """
        self._asyncio.run(self._advance(self.clock.now_ms() + round(seconds * 1000)))

    async def _advance(self, until_ms: int) -> None:
        await self._settle()
        while (waking := self.clock.next_waking_ms()) is not None and waking <= until_ms:
            self.clock.move(waking)
            await self._quiet()
        self.clock.move(until_ms)
        await self._settle()

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)  # noqa: S101 (made by the loop factory above)
        await loop.quiet()

    async def _settle(self) -> None:
        started = calm_since = self._loop.time()
        seen = -1
        while True:
            await self._quiet()
            for task in (*self._tasks, *self._following):
                if task.done():
                    task.result()
            for runner in self._runners:
                for reason in runner.stopped.values():
                    raise RuntimeError(reason)
            now = self._loop.time()
            done = self.broker.activity + len(self.http.requests)
            if done != seen:
                seen, calm_since = done, now
            elif now - calm_since >= _CALM_SECONDS and self._is_ready():
                return
            elif now - started > _GIVE_UP_SECONDS:
                waiting = [runner.processor.name for runner in self._runners if not runner.ready]
                raise RuntimeError(f"no end of the work in sight; not ready: {', '.join(waiting) or 'none'}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        return self._configuration.workspace is None or all(runner.ready for runner in self._runners)

    def crash(self, processor: str, when: Moment = "before commit", *, lose_state: bool = False) -> None:
        """Have the next transaction of a processor cut off: its worker is dropped, and a new one begins where the last commit was.

        Args:
            processor: Name of the processor, or of one of its groups (`translate.crm`).
            when: `before commit` loses the transaction; `after commit` stores it, but its owner never learns that.
            lose_state: Whether local state is lost too, as on a new machine.

        Raises:
            ValueError: There is no such processor.
        """
        groups = [name for runner in self._runners for name, _ in runner.members if name == processor or name.startswith(f"{processor}.")]
        if not groups:
            raise ValueError(f"there is no processor {processor}")
        self.broker.crashes.update({topic_name(self._prefix, group): when for group in groups})
        if lose_state:
            self._stores = {key: store for key, store in self._stores.items() if key[0] not in groups}


def read_topology(path: Path) -> Topology:
    """Read a topology's file and check it as every start does.

    Args:
        path: The file.

    Returns:
        The topology.

    Raises:
        DeclarationError: With everything that is wrong.
    """
    schema = orjson.loads((resource("schemas") / "topology.json").read_bytes())
    rules = TopologyRules(schema, {name: step.lanes for name, step in STEPS.items()}, tuple(ENRICHMENTS))
    return load_topology(path.read_text(encoding="utf-8"), str(path), rules)
