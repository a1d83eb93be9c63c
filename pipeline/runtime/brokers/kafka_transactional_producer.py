"""A transactional producer that sends what one transaction needs, one request after another, over aiokafka's connections.

aiokafka's own producer passes every batch through an accumulator, a sender and a transaction manager, each with tasks and futures of its own, adds
each partition and the group by requests of their own, and waits 20 ms where the last transaction is not quite over: 1.8 ms of CPU a
transaction. Here it is three requests where the cluster has transactions of level 2 (KIP-890, Kafka 4.0 and newer), five elsewhere.
With level 2 each transaction has an epoch of its own, so that a delayed EndTxn can no longer end a later one.

There is no repair in here: after any doubt the producer is thrown away, and a new one fences it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, KafkaError, ProducerFenced, for_code
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)
from aiokafka.record.default_records import DefaultRecordBatch

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers import kafka_transaction_requests as requests
from pipeline.runtime.brokers.kafka_batches import BATCH_BYTES, by_topic, rounds_of, sealed_in_turns
from pipeline.runtime.brokers.kafka_metadata import ask_only_for_needed_topics

IMPLICIT_LEVEL: Final = 2
"""Level of a cluster's transactions from which on the broker adds partitions and group."""
REQUEST_MS: Final = 10_000
SOON_SECONDS: Final = 0.003
"""Wait where the broker is still writing the last transaction's markers."""
LATER_SECONDS: Final = 0.02
AGAIN_SECONDS: Final = 0.1
"""Wait where a leader or a coordinator is on its way."""
STOP_SECONDS: Final = 1.0
_LOADING, _UNAVAILABLE, _MOVED = 14, 15, 16
"""A coordinator that comes up, or is another broker now."""
_NO_LEADER, _NOT_LEADER, _NOT_ENOUGH_REPLICAS = 5, 6, 19
_OLD_EPOCH, _FENCED = 47, 90
_STALE_MEMBER = frozenset({22, 25, 27, 82})
"""ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID: the group has gone on without this member."""
_CONCURRENT = 51
"""The broker still writes the last transaction's markers."""


class BatchFailed(Exception):
    """A batch was not stored.

    Attributes:
        error: Why.
    """

    def __init__(self, partition: TopicPartition, error: BaseException) -> None:
        super().__init__(f"{partition.topic}-{partition.partition}: {type(error).__name__}: {error}")
        self.error = error


class GroupWentOn(Exception):
    """The group has gone on without the member whose positions were to be written."""


class TransactionalProducer:
    """Writes one transaction at a time. Whoever uses it bounds every call in time; after an exception it is of no more use but for `abort`.

    Args:
        bootstrap: `host:port`, comma separated.
        transactional_id: Starting it fences whoever else has it.
        timeout_ms: After this the broker aborts a transaction.
    """

    def __init__(self, bootstrap: str, transactional_id: str, timeout_ms: int) -> None:
        self._client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="headrace", request_timeout_ms=REQUEST_MS)
        ask_only_for_needed_topics(self._client)
        self._id = transactional_id
        self._timeout_ms = timeout_ms
        self._implicit = False
        self._coordinators: dict[tuple[int, str], int] = {}
        self._producer_id = -1
        self._epoch = -1
        self._sequences: dict[TopicPartition, int] = defaultdict(int)
        self._begun = False
        self._stopped = False

    async def start(self) -> None:
        """Connect, fence whoever else has the id, and end what it left open.

        Raises:
            KafkaError: The broker refuses it; names why.
        """
        await self._client.bootstrap()
        with suppress(IncompatibleBrokerVersion):  # a broker without features has the oldest transactions
            features = await self._client.send(self._client.get_random_node(), requests.ask_features())
            self._implicit = requests.transaction_level(features) >= IMPLICIT_LEVEL
        self._producer_id, self._epoch = await self.take_over(self._id)

    async def take_over(self, transactional_id: str) -> tuple[int, int]:
        """Fence whoever else has an id, and end what it left open.

        Args:
            transactional_id: The id; another one than this producer's is not written under.

        Returns:
            Producer id and epoch under it.

        Raises:
            KafkaError: The broker refuses it; names why.
        """
        answer = await self._ask(
            CoordinationType.TRANSACTION, transactional_id, lambda: InitProducerIdRequest(transactional_id, self._timeout_ms), _own_code
        )
        return answer.producer_id, answer.producer_epoch

    async def partitions_for(self, topic: str) -> Collection[int]:
        """Give the partitions of a topic."""
        partitions: Collection[int] = await self._client._wait_on_metadata(topic)  # noqa: SLF001 (what aiokafka's own producer asks)
        return partitions

    def create_batch(self, *, packed: bool = True) -> BatchBuilder:
        """Make an empty batch.

        Args:
            packed: Whether it will be compressed.
        """
        return BatchBuilder(BATCH_BYTES, DefaultRecordBatch.CODEC_ZSTD if packed else 0, is_transactional=True)

    async def produce(self, batches: Sequence[tuple[TopicPartition, BatchBuilder]]) -> Mapping[TopicPartition, int]:
        """Write batches and wait until all are stored.

        Args:
            batches: Those of one partition in order.

        Returns:
            For each partition, the offset after its last record.

        Raises:
            BatchFailed: One of them was refused.
            ProducerFenced: The id has another owner.
            KafkaError: It is unknown what was stored.
        """
        rounds = rounds_of(batches)
        partitions = rounds[0].keys() if rounds else ()
        for topic in {partition.topic for partition in partitions}:
            await self.partitions_for(topic)
        if partitions and not self._implicit:
            await self._add_partitions(partitions)
        self._begun = True
        ends: dict[TopicPartition, int] = {}
        for one_each in rounds:
            stored = await self._store(await sealed_in_turns(self._sealed, one_each))
            ends |= {partition: offset + one_each[partition].record_count() for partition, offset in stored.items()}
        return ends

    def _sealed(self, partition: TopicPartition, batch: BatchBuilder) -> bytes:
        """Give the bytes of a batch, numbered on from the partition's last one."""
        batch._set_producer_state(self._producer_id, self._epoch, self._sequences[partition])  # noqa: SLF001 (as aiokafka's accumulator does)
        self._sequences[partition] += batch.record_count()
        return bytes(batch._build())  # noqa: SLF001 (as above)

    async def _store(self, batches: dict[TopicPartition, bytes]) -> dict[TopicPartition, int]:
        """Write one batch for each partition; what a leader would not take yet is offered again, under the same sequence number."""
        stored: dict[TopicPartition, int] = {}
        while True:
            by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
            for partition in batches.keys() - stored.keys():
                by_leader[self._leader(partition)].append(partition)
            leaderless = by_leader.pop(-1, None)
            if len(by_leader) == 1:
                ((leader, partitions),) = by_leader.items()
                answers = [await self._produce(leader, {partition: batches[partition] for partition in partitions})]
            else:
                writing = [self._produce(leader, {one: batches[one] for one in partitions}) for leader, partitions in by_leader.items()]
                answers = await asyncio.gather(*writing)
            wait = AGAIN_SECONDS if leaderless else 0.0
            for partition, code, offset in (one for answer in answers for one in answer):
                if code == 0:
                    stored[partition] = offset
                else:
                    wait = max(wait, self._wait_after(partition, code))
            if len(stored) == len(batches):
                return stored
            if wait >= AGAIN_SECONDS:
                await self._client.force_metadata_update()
            await asyncio.sleep(wait)

    def _leader(self, partition: TopicPartition) -> int:
        leader = self._client.cluster.leader_for_partition(partition)
        return -1 if leader is None else leader

    async def _produce(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> list[tuple[TopicPartition, int, int]]:
        written = by_topic(batches)
        request = requests.produce(self._id, REQUEST_MS, written) if self._implicit else ProduceRequest(self._id, -1, REQUEST_MS, written)
        answer = await self._client.send(leader, request)
        return [(TopicPartition(topic, one[0]), one[1], one[2]) for topic, partitions, *_ in answer.topics for one in partitions]

    def _wait_after(self, partition: TopicPartition, code: int) -> float:
        """Say how long to wait before a batch that was not taken is offered again; raises where it never will be."""
        if code == _CONCURRENT:
            return SOON_SECONDS
        if code == _NOT_ENOUGH_REPLICAS:
            return LATER_SECONDS  # a leader says this, too, where the coordinator was busy while it was asked (KIP-890)
        if code in (_NO_LEADER, _NOT_LEADER):
            return AGAIN_SECONDS
        try:
            _check(code)
        except ProducerFenced:
            raise
        except KafkaError as error:
            raise BatchFailed(partition, error) from error
        return 0.0

    async def send_offsets(self, positions: Mapping[TopicPartition, tuple[int, str]], member: Membership) -> None:
        """Make a group's positions part of the transaction, once the records are stored: the coordinator takes one addition at a time.

        Args:
            positions: Offset and metadata by partition.
            member: The group, and who of it.

        Raises:
            GroupWentOn: The member is none any more, or of another generation.
            ProducerFenced: The id has another owner.
            KafkaError: It is unknown what was stored.
        """
        group = member.group
        self._begun = True
        if not self._implicit:
            await self._ask_coordinator(lambda: AddOffsetsToTxnRequest(self._id, self._producer_id, self._epoch, group), _own_code)
        topics: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (topic, partition), (offset, metadata) in positions.items():
            topics[topic].append((partition, offset, metadata))
        written = list(topics.items())

        def request() -> Any:  # noqa: ANN401 (aiokafka ships without types)
            return requests.commit_offsets(self._id, member, self._producer_id, self._epoch, written, implicit=self._implicit)

        await self._ask(CoordinationType.GROUP, group, request, _any_code)

    async def commit(self) -> None:
        """Make everything visible, all or nothing."""
        await self._end(committed=True)

    async def abort(self) -> None:
        """Take everything back."""
        if self._begun:
            await self._end(committed=False)

    async def _end(self, *, committed: bool) -> None:
        if self._implicit:
            answer = await self._ask_coordinator(lambda: requests.end(self._id, self._producer_id, self._epoch, committed=committed), _own_code)
            self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch
            self._sequences.clear()
        else:
            await self._ask_coordinator(lambda: EndTxnRequest(self._id, self._producer_id, self._epoch, committed), _own_code)
        self._begun = False

    async def _add_partitions(self, partitions: Collection[TopicPartition]) -> None:
        topics: dict[str, list[int]] = defaultdict(list)
        for topic, partition in partitions:
            topics[topic].append(partition)
        added = list(topics.items())
        await self._ask_coordinator(lambda: AddPartitionsToTxnRequest(self._id, self._producer_id, self._epoch, added), _any_code)

    async def _ask_coordinator(self, make: Callable[[], Any], code_of: Callable[[Any], int]) -> Any:  # noqa: ANN401 (aiokafka ships without types)
        return await self._ask(CoordinationType.TRANSACTION, self._id, make, code_of)

    async def _ask(self, kind: int, key: str, make: Callable[[], Any], code_of: Callable[[Any], int]) -> Any:  # noqa: ANN401 (as above)
        """Ask a coordinator until it has done, or refused, what it is asked: while it is busy with the transaction before, comes up, or moves."""
        while True:
            self._see_that_it_goes_on()
            coordinator = self._coordinators.get((kind, key))
            if coordinator is None:
                coordinator = self._coordinators[kind, key] = await self._find(kind, key)
            answer = await self._client.send(coordinator, make())
            code = code_of(answer)
            if code == _CONCURRENT:
                await asyncio.sleep(SOON_SECONDS)
            elif code in (_LOADING, _UNAVAILABLE, _MOVED):
                del self._coordinators[kind, key]
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                _check(code)
                return answer

    async def _find(self, kind: int, key: str) -> int:
        while True:
            self._see_that_it_goes_on()
            try:
                coordinator: int = await self._client.coordinator_lookup(kind, key)
            except KafkaError as error:
                if getattr(error, "errno", 0) not in (_LOADING, _UNAVAILABLE, _MOVED):
                    raise
            else:
                if await self._client.ready(coordinator):
                    return coordinator
            await asyncio.sleep(AGAIN_SECONDS)
            await self._client.force_metadata_update()

    def _see_that_it_goes_on(self) -> None:
        """Raise once it was stopped: aiokafka's client would connect again, or wait for metadata that nobody asks for any more."""
        if self._stopped:
            reason = f"the producer of {self._id} was stopped"
            raise KafkaConnectionError(reason)

    async def stop(self) -> None:
        """Close the connections; never raises. What is open is aborted by the next owner, or by the broker after the timeout."""
        self._stopped = True
        with suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._client.close()


def _own_code(answer: Any) -> int:  # noqa: ANN401 (aiokafka ships without types)
    code: int = answer.error_code
    return code


def _any_code(answer: Any) -> int:  # noqa: ANN401 (as above)
    return next((result[1] for topic in answer.errors for result in topic[1] if result[1]), 0)


def _check(code: int) -> None:
    if code in (_OLD_EPOCH, _FENCED):
        raise ProducerFenced
    if code in _STALE_MEMBER:
        raise GroupWentOn(f"the coordinator's code {code}")
    if code:
        raise for_code(code)(f"the broker's code {code}")
