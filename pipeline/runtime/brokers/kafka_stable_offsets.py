"""A group's committed offset that no open transaction is about to change (KIP-447).

aiokafka 0.14 speaks OffsetFetch up to version 3; `require_stable` came with version 7, in Kafka 2.5. The field tables are those of Kafka's
`clients/src/main/resources/common/message/OffsetFetch*.json`.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import BrokerResponseError, KafkaError, for_code
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from pipeline.model.record import TopicPartition
from pipeline.runtime.brokers.kafka_transaction_requests import Exactly

_TEXT: Final = CompactString("utf-8")
_TAGS: Final = ("tags", TaggedFields)
_UNSTABLE: Final = 88


class OffsetFetchResponse_v7(Response):  # type: ignore[misc]  # noqa: N801 (aiokafka ships without types; its way to name versions)
    """Where a group stands."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _TEXT), ("error_code", Int16), _TAGS),
                ),
                _TAGS,
            ),
        ),
        ("error_code", Int16),
        _TAGS,
    )


class OffsetFetchRequest_v7(RequestStruct):  # type: ignore[misc]  # noqa: N801 (as above)
    """Asks where a group stands."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse_v7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)),
        ("require_stable", Boolean),
        _TAGS,
    )


class OffsetUnstable(KafkaError):  # type: ignore[misc]  # aiokafka ships without types
    """A transaction with this offset has not come to its end."""


async def stable_offset(admin: AIOKafkaAdminClient, group: str, partition: TopicPartition) -> tuple[int, str]:
    """Read a group's committed offset.

    Args:
        admin: A connected client.
        group: The group.
        partition: The partition.

    Returns:
        Offset, -1 where there is none, and the metadata beside it.

    Raises:
        OffsetUnstable: A transaction is about to decide it; to be asked again.
        KafkaError: The coordinator does not know, or may not say.
    """
    coordinator = await admin.find_coordinator(group)
    request = Exactly(OffsetFetchRequest_v7(group, [(partition.topic, [partition.partition], {})], True, {}))  # noqa: FBT003 (a structure of the protocol)
    answer: Any = await admin._client.send(coordinator, request)  # noqa: SLF001 (the public calls of aiokafka 0.14 send its own requests only)
    _check(answer.error_code)
    for topic, partitions, _ in answer.topics:
        for number, offset, _, metadata, code, _ in partitions:
            if TopicPartition(topic, number) == partition:
                _check(code)
                return offset, metadata or ""
    raise KafkaError("its coordinator does not know yet")


def _check(code: int) -> None:
    if code == _UNSTABLE:
        raise OffsetUnstable("a transaction is about to decide it")
    if code:
        error: type[BrokerResponseError] = for_code(code)
        raise error(f"the coordinator's code {code}")
