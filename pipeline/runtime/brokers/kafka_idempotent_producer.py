"""An idempotent producer that writes what it is given as one request to each leader, over aiokafka's connections.

aiokafka's own producer passes every batch through an accumulator and a sender, each with tasks and futures of its own. Here batches are numbered
and sent at once, one write after the other, so that a write may be offered again under the same numbers: a broker takes it once (KIP-98).
After any doubt that is left the producer is thrown away, and a new one has a new id: what was in doubt may then be stored twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, RequestTimedOutError, for_code
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatch

from pipeline.model.record import TopicPartition
from pipeline.runtime.brokers.kafka_batches import BATCH_BYTES, by_topic, rounds_of, sealed_in_turns
from pipeline.runtime.brokers.kafka_metadata import ask_only_for_needed_topics

REQUEST_MS: Final = 10_000
AGAIN_SECONDS: Final = 0.1
"""Wait before a write that was not taken is offered again."""
STOP_SECONDS: Final = 1.0
_DUPLICATE: Final = 46
"""The broker has stored a batch of this number already: the answer to the first offer was lost."""


class IdempotentProducer:
    """Writes with acks=all. Whoever uses it bounds every call in time; after an exception it is of no more use.

    Args:
        bootstrap: `host:port`, comma separated.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id=client_id, request_timeout_ms=REQUEST_MS)
        ask_only_for_needed_topics(self._client)
        self._producer_id = -1
        self._epoch = -1
        self._sequences: dict[TopicPartition, int] = defaultdict(int)
        self._writing = asyncio.Lock()
        self._spent = False

    async def start(self) -> None:
        """Connect, and get an id.

        Raises:
            KafkaError: The broker refuses it; names why.
        """
        await self._client.bootstrap()
        while True:
            answer = await self._client.send(self._client.get_random_node(), InitProducerIdRequest(None, REQUEST_MS))
            error = for_code(answer.error_code)
            if not answer.error_code:
                break
            if not error.retriable:
                raise error(f"the broker's code {answer.error_code}")
            await asyncio.sleep(AGAIN_SECONDS)
        self._producer_id, self._epoch = answer.producer_id, answer.producer_epoch

    async def partitions_for(self, topic: str) -> Collection[int]:
        """Give the partitions of a topic."""
        partitions: Collection[int] = await self._client._wait_on_metadata(topic)  # noqa: SLF001 (what aiokafka's own producer asks)
        return partitions

    def create_batch(self, *, packed: bool = True) -> BatchBuilder:
        """Make an empty batch.

        Args:
            packed: Whether it will be compressed.
        """
        return BatchBuilder(BATCH_BYTES, DefaultRecordBatch.CODEC_SNAPPY if packed else 0)

    async def produce(self, batches: Sequence[tuple[TopicPartition, BatchBuilder]]) -> None:
        """Write batches and wait until all are stored.

        Args:
            batches: Those of one partition in order.

        Raises:
            KafkaError: One of them was refused, or it is unknown what was stored.
            KafkaConnectionError: A write before it failed, or the producer was stopped.
        """
        async with self._writing:
            self._check()
            try:
                for topic in {partition.topic for partition, _ in batches}:
                    await self.partitions_for(topic)
                for one_each in rounds_of(batches):
                    await self._store(await sealed_in_turns(self._sealed, one_each))
            except BaseException:
                self._spent = True
                raise

    def _check(self) -> None:
        """Raise where it is of no more use: a client that is closed connects no more, and never ends an update of its metadata."""
        if self._spent:
            reason = "this producer has failed or was stopped; write again with a new one"
            raise KafkaConnectionError(reason)

    def _sealed(self, partition: TopicPartition, batch: BatchBuilder) -> bytes:
        """Give the bytes of a batch, numbered on from the partition's last one."""
        batch._set_producer_state(self._producer_id, self._epoch, self._sequences[partition])  # noqa: SLF001 (as aiokafka's accumulator does)
        self._sequences[partition] += batch.record_count()
        return bytes(batch._build())  # noqa: SLF001 (as above)

    async def _store(self, batches: dict[TopicPartition, bytes]) -> None:
        """Write one batch for each partition; what was not taken is offered again under the same number."""
        while batches:
            by_leader: dict[int | None, dict[TopicPartition, bytes]] = defaultdict(dict)
            for partition, records in batches.items():
                by_leader[self._client.cluster.leader_for_partition(partition)][partition] = records
            leaderless = {**by_leader.pop(None, {}), **by_leader.pop(-1, {})}
            writing = [self._write(leader, some) for leader, some in by_leader.items() if leader is not None]
            left = [await writing[0]] if len(writing) == 1 else await asyncio.gather(*writing)
            batches = {**leaderless, **{partition: records for some in left for partition, records in some.items()}}
            if batches:
                self._check()
                await self._client.force_metadata_update()
                await asyncio.sleep(AGAIN_SECONDS)

    async def _write(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> Mapping[TopicPartition, bytes]:
        """Offer batches to their leader, and give those that it has not taken, or of which nothing is known."""
        try:
            answer = await self._client.send(leader, ProduceRequest(None, -1, REQUEST_MS, by_topic(batches)))
        except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
            return batches
        left: dict[TopicPartition, bytes] = {}
        for topic, partitions, *_ in answer.topics:
            for number, code, *_rest in partitions:
                if code not in (0, _DUPLICATE):
                    error = for_code(code)
                    if not error.retriable:
                        raise error(f"{topic}-{number}: the broker's code {code}")
                    left[TopicPartition(topic, number)] = batches[TopicPartition(topic, number)]
        return left

    async def stop(self) -> None:
        """Close the connections; never raises."""
        self._spent = True
        with suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._client.close()
