"""Makes the group members of processors of every kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pipeline.assembly.anew import translate_anew
from pipeline.assembly.replay import build_replay_steps, replay_processor
from pipeline.assembly.steps import Judges, build_steps
from pipeline.dedup import create_dedup
from pipeline.destinations.declaration import secret_settings
from pipeline.model.outcomes import Step
from pipeline.model.record import TopicPartition
from pipeline.model.topics import RETRY_DELAYS, declared_topics, topic_name
from pipeline.model.topology import Processor
from pipeline.model.workspace import Destination, Workspace
from pipeline.ports.broker import Broker, Membership
from pipeline.ports.clock import Clock
from pipeline.ports.http import HttpClient
from pipeline.ports.metrics import Metrics
from pipeline.ports.store import DedupStore, Seen
from pipeline.registry import DESTINATION_TYPES
from pipeline.replay.board import group_of
from pipeline.replay.jobs import Job
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.delivery.lane import DeliveryLane, DeliverySettings
from pipeline.runtime.delivery.order import HeldTopic
from pipeline.runtime.delivery.worker import DeliverWorker
from pipeline.runtime.inbox import INBOX_BYTES
from pipeline.runtime.partition_worker import MakeWorker
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.plans import ConfiguredPlans, PartitionPlans
from pipeline.runtime.processors import group_name
from pipeline.runtime.replay.worker import ReplayWorker
from pipeline.runtime.retry import RetryWorker
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.suspicion import Suspicion
from pipeline.runtime.translated_anew import Renewal

_WAITING_BYTES: Final = 512 * 1024
"""Inbox of a partition whose records wait for a tool or a time: while tools are away all of these are full, and there may be hundreds."""


class Made(NamedTuple):
    """What a kind of processor makes of its group member.

    Attributes:
        topics: Input topics without prefix.
        make_worker: Makes a worker for a partition of them.
        on_end: Called when the member has ended.
    """

    topics: list[str]
    make_worker: MakeWorker
    on_end: Callable[[], None] = lambda: None


OpenStore = Callable[[str, int, int], DedupStore]
"""Opens the local dedup store of a group (without prefix) and partition, for a number of ids."""


class Outside(NamedTuple):
    """The ports that group members work on.

    Attributes:
        broker: Where topics are.
        clock: Time.
        metrics: Counts.
        http: Client for destinations.
        open_store: Opens local dedup stores.
        time_scale: What retry delays are multiplied by; 1 but for demonstrations and tests.
    """

    broker: Broker
    clock: Clock
    metrics: Metrics
    http: HttpClient
    open_store: OpenStore
    time_scale: float = 1.0


class HostMaker:
    """Makes group members for one process.

    Args:
        judges: What steps need beside the workspace.
        configuration: What is declared, followed.
        outside: The ports.

    Attributes:
        lanes: The way to each destination that this process delivers to.
    """

    def __init__(self, judges: Judges, configuration: Configuration, outside: Outside) -> None:
        self._judges = judges
        self._configuration = configuration
        self._outside = outside
        self.lanes: dict[str, DeliveryLane] = {}
        self._dedup: dict[tuple[str, int], DedupState] = {}

    def first_seen(self, digest: bytes) -> tuple[int, Seen] | None:
        """Look up what the dedup state of the partitions held here knows of a message.

        Args:
            digest: 16-byte digest of source and message id.

        Returns:
            Partition, and when and where in it the message was first seen; None where no partition here knows it.
        """
        for (_, number), state in self._dedup.items():
            if (seen := state.first_seen(digest)) is not None:
                return number, seen
        return None

    def __call__(self, processor: Processor, instance: str, workspace: Workspace) -> PartitionHost:
        """Make the member of a processor's group.

        Args:
            processor: The processor.
            instance: Id of the destination or storage where there is one group for each, else empty.
            workspace: What is declared now.

        Returns:
            The member, not started.
        """
        name = group_name(processor, instance)
        make = {"steps": self._steps, "deliver": self._deliver, "retry": self._retry, "lake": self._lake}[processor.kind]
        made = make(processor, instance, workspace, name)
        prefix = workspace.name
        return PartitionHost(
            self._outside.broker,
            group=topic_name(prefix, name),
            topics=[topic_name(prefix, topic) for topic in made.topics],
            make_worker=made.make_worker,
            counts=self._counts(processor, made.topics, workspace),
            inbox_bytes=_WAITING_BYTES if processor.kind in ("deliver", "retry") else INBOX_BYTES,
            on_end=made.on_end,
        )

    def _counts(self, processor: Processor, inputs: Iterable[str], workspace: Workspace) -> dict[str, int]:
        """Give how many partitions what a member reads, writes and remembers by must have; a destination's topics may come after it."""
        topology = self._judges.topology
        own = {processor.name} if "dedup" in processor.steps else set()
        declared = declared_topics(
            workspace.name,
            destinations=workspace.destinations,
            storages=workspace.storage,
            dedup_processors=own,
            partitions=topology.partitions,
        )
        counts = {topic.name: topic.partitions for topic in declared}
        names = {*inputs, *(lane for lane in processor.lanes.values() if "{" not in lane), *(f"{name}.dedup.changelog" for name in own)}
        return {name: counts[name] for name in (topic_name(workspace.name, one) for one in names) if name in counts}

    def _steps(self, processor: Processor, instance: str, workspace: Workspace, name: str) -> Made:
        outside, prefix = self._outside, workspace.name

        def build(version: Workspace) -> tuple[tuple[str, Step], ...]:
            return build_steps(processor, instance, version, self._judges)

        plans = ConfiguredPlans(processor, self._configuration, build, instance)
        suspicions: dict[TopicPartition, Suspicion] = defaultdict(Suspicion)

        def make_worker(partition: TopicPartition, membership: Membership) -> StepWorker:
            number = partition.partition
            dedup: DedupState | None = None
            if "dedup" in processor.steps:
                changelog = TopicPartition(topic_name(prefix, f"{processor.name}.dedup.changelog"), number)
                dedup = DedupState(
                    changelog,
                    processor=name,
                    open_store=lambda: outside.open_store(name, number, processor.dedup_max_ids),
                    broker=outside.broker,
                    clock=outside.clock,
                    metrics=outside.metrics,
                    window_ms=processor.dedup_window_seconds * 1000,
                )
                self._dedup[name, number] = dedup

            return StepWorker(
                partition,
                processor=name,
                group=topic_name(prefix, name),
                prefix=prefix,
                transactions=outside.broker.transactions(f"{prefix}-{name}-{processor.input}-{number}", membership),
                plans=plans if dedup is None else PartitionPlans(plans, processor.steps, ("dedup", create_dedup(dedup.seen))),
                state=dedup,
                clock=outside.clock,
                metrics=outside.metrics,
                suspicion=suspicions[partition],
                commit_interval_seconds=processor.commit_interval_ms / 1000,
            )

        return Made([processor.input], make_worker)

    def _deliver(self, processor: Processor, instance: str, workspace: Workspace, name: str) -> Made:
        outside, prefix = self._outside, workspace.name
        resolve = self._judges.resolve
        known = workspace.destinations[instance]
        lane = DeliveryLane(delivery_settings(known, resolve), clock=outside.clock, metrics=outside.metrics)

        anew_below = 0

        def changed(version: Workspace) -> None:
            nonlocal known, anew_below
            destination = version.destinations.get(instance)
            said = self._configuration.parkings.get(instance)
            if said is not None and lane.command(parked=said.parked, at_ms=said.at_ms):
                anew_below = 0 if said.parked else said.anew_below
            if destination is not None and destination != known and lane.stopped_itself:
                anew_below = version.version
            lane.renewal = Renewal(outside.broker, translate_anew(version), instance, anew_below) if anew_below else None
            if destination is None:
                return
            settings = delivery_settings(destination, resolve)
            if destination != known or settings != lane.settings:
                # A version that is about others is no reason to try a tool again that wants no more requests.
                known = destination
                lane.update(settings)

        self.lanes[instance] = lane
        stop_following = self._configuration.on_change(changed)

        def leave() -> None:
            stop_following()
            if self.lanes.get(instance) is lane:
                del self.lanes[instance]

        live = processor.input.replace("{destination}", instance)
        held = HeldTopic(outside.broker, topic_name(prefix, live))

        def make_worker(partition: TopicPartition, membership: Membership) -> DeliverWorker:
            short = partition.topic.removeprefix(f"{prefix}.")
            return DeliverWorker(
                partition,
                lane=lane,
                transactions=outside.broker.transactions(f"{prefix}-{name}-{short}-{partition.partition}", membership),
                client=outside.http,
                clock=outside.clock,
                metrics=outside.metrics,
                processor=name,
                group=topic_name(prefix, name),
                prefix=prefix,
                held=held if short == live else None,
                commit_interval_seconds=processor.commit_interval_ms / 1000,
                time_scale=outside.time_scale,
            )

        return Made([live, f"{live}.retry", f"{live}.replay"], make_worker, leave)

    def _retry(self, processor: Processor, instance: str, workspace: Workspace, name: str) -> Made:
        del instance
        outside, prefix = self._outside, workspace.name

        def make_worker(partition: TopicPartition, membership: Membership) -> RetryWorker:
            short = partition.topic.removeprefix(f"{prefix}.")
            return RetryWorker(
                partition,
                tier=short.removeprefix("retry."),
                transactions=outside.broker.transactions(f"{prefix}-{name}-{short}-{partition.partition}", membership),
                clock=outside.clock,
                metrics=outside.metrics,
                processor=name,
                group=topic_name(prefix, name),
                prefix=prefix,
                is_destination=self._is_destination,
                at_least=self._configuration.at_least,
                time_scale=outside.time_scale,
            )

        return Made([processor.input.replace("{delay}", delay) for delay in RETRY_DELAYS], make_worker)

    def _is_destination(self, name: str) -> bool:
        workspace = self._configuration.workspace
        return workspace is not None and name in workspace.destinations

    def _lake(self, processor: Processor, instance: str, workspace: Workspace, name: str) -> Made:
        del name
        from pipeline.runtime.lake.workers import lake_workers  # noqa: PLC0415 (pyarrow is 30 MB that only this kind should carry)

        outside, prefix = self._outside, workspace.name
        root = self._judges.folder_of(workspace.storage[instance])

        make_worker = lake_workers(outside.broker, storage=instance, prefix=prefix, root=root, clock=outside.clock, metrics=outside.metrics)
        return Made([processor.input, f"{processor.input}.{instance}.replay"], make_worker)

    def for_job(self, processor: Processor, job: Job, workspace: Workspace) -> PartitionHost:
        """Make the member of a replay job's group.

        Args:
            processor: The processor of kind `replay`.
            job: The job.
            workspace: What is declared now.

        Returns:
            The member, not started.
        """
        outside, prefix, name = self._outside, workspace.name, group_of(job.id)
        own = replay_processor(job, self._judges.topology)

        def build(version: Workspace) -> tuple[tuple[str, Step], ...]:
            return build_replay_steps(job, version, self._judges)

        def make_worker(partition: TopicPartition, membership: Membership) -> ReplayWorker:
            return ReplayWorker(
                partition,
                job=job,
                prefix=prefix,
                transactions=outside.broker.transactions(f"{prefix}-{name}-{job.input}-{partition.partition}", membership),
                plans=ConfiguredPlans(own, self._configuration, build),
                clock=outside.clock,
                metrics=outside.metrics,
            )

        return PartitionHost(
            outside.broker,
            group=topic_name(prefix, name),
            topics=[topic_name(prefix, job.input)],
            make_worker=make_worker,
            counts=self._counts(processor, [job.input], workspace),
            inbox_bytes=_WAITING_BYTES,
        )


def delivery_settings(destination: Destination, resolve: Callable[[str], str]) -> DeliverySettings:
    """Give a destination as deliver needs it.

    Args:
        destination: The destination as declared.
        resolve: Fills in references to secrets.

    Returns:
        Its settings; a secret that is not there is named as missing, so that its requests wait instead of going out wrong.
    """
    kind = DESTINATION_TYPES[destination.type]
    secrets: dict[str, str] = {}
    missing: set[str] = set()
    for name, reference in secret_settings(kind, destination.settings).items():
        try:
            secrets[name] = resolve(reference)
        except ValueError:
            missing.add(name)
    return DeliverySettings(destination.id, kind, secrets, frozenset(missing), destination.rate, destination.concurrency, destination.order == "user")
