"""Consumer groups and their offsets through aiokafka, which has no call to set a group's offsets: a consumer without a membership does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    CommitFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import BrokerError, GroupMember, Position
from pipeline.runtime.brokers.kafka_lookup import KafkaLookup
from pipeline.runtime.brokers.kafka_metadata import ask_only_for_needed_topics
from pipeline.runtime.brokers.kafka_topics import read_marked

ANSWER_SECONDS: Final = 20.0
_COORDINATOR_WAITS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_Answer = TypeVar("_Answer")


class KafkaGroups:
    """Consumer groups of a cluster; connects for each call.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def _connected(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        ask_only_for_needed_topics(admin._client)  # noqa: SLF001 (aiokafka 0.14 does not show it)
        try:
            await admin.start()
        except (KafkaError, OSError) as error:
            await admin.close()
            reason = f"cannot reach Kafka at {self._bootstrap}: {error}"
            raise BrokerError(reason) from error
        return admin

    async def _ask(self, what: str, question: Callable[[AIOKafkaAdminClient], Awaitable[_Answer]]) -> _Answer:
        """Ask the cluster; a group's coordinator may still be on its way, most of all on a cluster that has had no group yet."""
        admin = await self._connected()
        try:
            for wait in _COORDINATOR_WAITS:
                try:
                    return await question(admin)
                except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, GroupLoadInProgressError):
                    await asyncio.sleep(wait)
            return await question(admin)
        except (KafkaError, OSError) as error:
            reason = f"cannot read {what}: {error}"
            raise BrokerError(reason) from error
        finally:
            await admin.close()

    async def lags(self, group: str, topics: Collection[str]) -> Mapping[TopicPartition, int]:
        """Give how many records a group has not read yet, by partition."""
        lookup = KafkaLookup(self._bootstrap)
        try:
            committed, bounds = await self.positions(group), await lookup.start(topics)
        finally:
            await lookup.stop()
        lags: dict[TopicPartition, int] = {}
        for partition, (first, end) in bounds.items():
            position = committed.get(partition)
            lags[partition] = max(0, end - (first if position is None else position.offset))
        return lags

    async def groups(self) -> Collection[str]:
        """Give the names of the consumer groups that have members or committed positions."""
        found = await self._ask("the consumer groups", lambda admin: admin.list_consumer_groups())
        return sorted(str(group[0]) for group in found)

    async def members(self, group: str) -> Sequence[GroupMember]:
        """Give the members of a group; none for a group that is stopped or does not exist."""
        (response,) = await self._ask(f"the members of {group}", lambda admin: admin.describe_consumer_groups([group]))
        return [
            GroupMember(client_id, host.lstrip("/"), _partitions(assignment))
            for _, _, _, _, _, members, *_ in response.groups
            for _, client_id, host, _, assignment in members
        ]

    async def positions(self, group: str) -> Mapping[TopicPartition, Position]:
        """Give all committed positions of a group."""
        found = await self._ask(f"the offsets of {group}", lambda admin: admin.list_consumer_group_offsets(group))
        return {TopicPartition(*key): read_marked(value.offset, value.metadata or "") for key, value in sorted(found.items()) if value.offset >= 0}

    async def set_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions for a group that has no members; the broker itself refuses it for one that has."""
        keys = {KafkaTopicPartition(*key): OffsetAndMetadata(value.offset, value.metadata) for key, value in positions.items()}
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, group_id=group, enable_auto_commit=False)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await consumer.start()
                consumer.assign(list(keys))
                await consumer.commit(keys)
        except (CommitFailedError, UnknownMemberIdError) as error:
            reason = f"the group {group} has members: its offsets are theirs"
            raise BrokerError(reason) from error
        except (TimeoutError, KafkaError, OSError) as error:
            reason = f"cannot set the offsets of {group}: {str(error) or 'no answer'}"
            raise BrokerError(reason) from error
        finally:
            await consumer.stop()


def _partitions(assignment: bytes) -> tuple[TopicPartition, ...]:
    if not assignment:
        return ()
    decoded: Any = ConsumerProtocolMemberAssignment.decode(assignment)
    return tuple(TopicPartition(topic, number) for topic, numbers in decoded.assignment for number in sorted(numbers))
