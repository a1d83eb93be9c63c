"""What a topic is, and which topic a committed offset belongs to.

aiokafka 0.14 speaks Metadata up to version 5; topic ids came with version 10 (KIP-516). So the request is written out here, in the
library's own structures, at version 12, which every broker from 3.0 on answers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import AbstractType, Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Position, TopicState

Pins = dict[tuple[str, str], str]
"""Ids of the topics that groups work on, by group and topic; shared by what one broker object makes."""

_NAME: Final = CompactString("utf-8")
_TAGS: Final = ("tags", TaggedFields)
_NONE: Final = bytes(16)
_MARK: Final = " topic="
_MARKED: Final = re.compile(r"(.*) topic=([A-Za-z0-9_-]{22})", re.DOTALL)


class _Uuid(AbstractType):  # type: ignore[misc]  # aiokafka ships without types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka ships without types
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), _TAGS)),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _NAME),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("topic_authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]  # aiokafka ships without types
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _NAME), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _Metadata(Request[_MetadataRequest]):  # type: ignore[misc]  # aiokafka ships without types
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 (aiokafka's own signature)
        return request_struct_class([(_NONE, topic, {}) for topic in self._topics], False, False, {})  # noqa: FBT003 (a structure of the protocol)


async def describe_topics(client: AIOKafkaClient, topics: Collection[str]) -> Mapping[str, TopicState]:
    """Ask a broker what topics are now, with their ids where it knows such.

    Args:
        client: A connected client.
        topics: Their names.

    Returns:
        The topics that exist.

    Raises:
        KafkaError: The broker does not answer, or may not.
    """
    node = client.get_random_node()
    try:
        answer = await client.send(node, _Metadata(topics))
    except (NotImplementedError, IncompatibleBrokerVersion):  # a broker before 3.0
        answer = await client.send(node, MetadataRequest(list(topics), allow_auto_topic_creation=False))
        return {name: TopicState(len(partitions)) for error, name, _, partitions in answer.topics if not error}
    found: dict[str, TopicState] = {}
    for error, name, topic_id, _, partitions, *_ in answer.topics:
        if error == UnknownTopicOrPartitionError.errno:
            continue
        if error:
            raise for_code(error)(f"topic {name}")
        found[name] = TopicState(len(partitions), "" if topic_id == _NONE else base64.urlsafe_b64encode(topic_id).decode().rstrip("="))
    return found


def marked(pins: Pins, group: str, partition: TopicPartition, position: Position) -> str:
    """Write a position's metadata.

    Args:
        pins: The topics that groups work on.
        group: The group.
        partition: The partition.
        position: Its position.

    Returns:
        The metadata, with the id of the topic at its end where that is pinned.
    """
    topic_id = pins.get((group, partition.topic))
    return f"{position.metadata}{_MARK}{topic_id}" if topic_id else position.metadata


def read_marked(offset: int, metadata: str) -> Position:
    """Read a committed position.

    Args:
        offset: Its offset.
        metadata: The text beside it.

    Returns:
        The position.
    """
    match = _MARKED.fullmatch(metadata)
    return Position(offset, match[1], match[2]) if match else Position(offset, metadata)
