"""The requests of Kafka's transactions in the versions of KIP-890, in which a broker adds what is written to a transaction by itself.

aiokafka 0.14 has older ones only, with which the client adds each partition, and the group, by a request of its own. The field tables are
those of Kafka's `clients/src/main/resources/common/message/*.json`.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from pipeline.ports.broker import Membership

_TEXT: Final = CompactString("utf-8")
_FINALIZED_FEATURES: Final = 2
_TAGS: Final[dict[int, bytes]] = {}
_FEATURES: Final = CompactArray(("name", _TEXT), ("max_level", Int16), ("min_level", Int16), ("tags", TaggedFields))


class ApiVersionsResponse_v3(Response):  # type: ignore[misc]  # noqa: N801 (aiokafka ships without types; its way to name versions)
    """Which requests and features a broker knows."""

    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_keys", CompactArray(("api_key", Int16), ("min_version", Int16), ("max_version", Int16), ("tags", TaggedFields))),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ApiVersionsRequest_v3(RequestStruct):  # type: ignore[misc]  # noqa: N801 (as above)
    """Asks which requests and features a broker knows."""

    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse_v3
    SCHEMA = Schema(("client_software_name", _TEXT), ("client_software_version", _TEXT), ("tags", TaggedFields))

    def parse_response_header(self, read_buffer: BytesIO | bytes) -> Any:  # noqa: ANN401 (aiokafka's)
        """Read the header, which has no tags in any version, so that every client can read it (KIP-511)."""
        return ResponseHeader_v0.decode(read_buffer)


class ProduceResponse_v12(Response):  # type: ignore[misc]  # noqa: N801 (as above)
    """Where batches were stored, or why not."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", CompactArray(("index", Int32), ("message", _TEXT), ("tags", TaggedFields))),
                        ("error_message", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class ProduceRequest_v12(RequestStruct):  # type: ignore[misc]  # noqa: N801 (as above)
    """Writes batches; their partitions become part of the transaction."""

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse_v12
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("records", CompactBytes), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitResponse_v5(Response):  # type: ignore[misc]  # noqa: N801 (as above)
    """Whether positions were taken."""

    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "errors",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequest_v5(RequestStruct):  # type: ignore[misc]  # noqa: N801 (as above)
    """Writes a group's positions; the group becomes part of the transaction."""

    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitResponse_v3(TxnOffsetCommitResponse_v5):  # noqa: N801 (as above)
    """The same where the client adds the group itself."""

    API_VERSION = 3


class TxnOffsetCommitRequest_v3(TxnOffsetCommitRequest_v5):  # noqa: N801 (as above)
    """The same where the client adds the group itself (Kafka 2.5 and newer)."""

    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponse_v3


class EndTxnResponse_v5(Response):  # type: ignore[misc]  # noqa: N801 (as above)
    """Whether the transaction has ended, and the producer id and epoch of the next one."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class EndTxnRequest_v5(RequestStruct):  # type: ignore[misc]  # noqa: N801 (as above)
    """Commits or aborts a transaction."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("transaction_result", Boolean),
        ("tags", TaggedFields),
    )


class Exactly(Request[RequestStruct]):  # type: ignore[misc]  # aiokafka ships without types
    """A request in the one version in which it is built."""

    API_KEY = -1

    def __init__(self, request: RequestStruct) -> None:
        self._request = request

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Not asked for a version."""
        del request_struct_class
        return self._request

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        """Give the request, where the broker knows its version.

        Raises:
            IncompatibleBrokerVersion: It does not.
        """
        _, newest = versions.get(self._request.API_KEY, (0, -1))
        if newest < self._request.API_VERSION:
            raise IncompatibleBrokerVersion(type(self._request).__name__)
        return self._request


def ask_features() -> Request[RequestStruct]:
    """Ask what a broker's cluster has agreed on."""
    return Exactly(ApiVersionsRequest_v3("headrace", "0", _TAGS))


def transaction_level(response: ApiVersionsResponse_v3) -> int:
    """Read the level of transactions of a cluster.

    Args:
        response: The answer to `ask_features`.

    Returns:
        Its `transaction.version`; 0 where it has none. From 2 on partitions and group are added by the broker, and each transaction has an epoch
        of its own (KIP-890).
    """
    finalized = response.tags.get(_FINALIZED_FEATURES)
    features = (_FEATURES.decode(BytesIO(finalized)) or ()) if finalized else ()
    return next((level for name, level, _, _ in features if name == "transaction.version"), 0)


def produce(transactional_id: str, timeout_ms: int, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> Request[RequestStruct]:
    """Write batches by topic and partition."""
    tagged = [(topic, [(partition, records, _TAGS) for partition, records in batches], _TAGS) for topic, batches in topics]
    return Exactly(ProduceRequest_v12(transactional_id, -1, timeout_ms, tagged, _TAGS))


def commit_offsets(
    transactional_id: str,
    member: Membership,
    producer_id: int,
    producer_epoch: int,
    topics: list[tuple[str, list[tuple[int, int, str]]]],
    *,
    implicit: bool,
) -> Request[RequestStruct]:
    """Write a group's positions by topic and partition.

    Args:
        transactional_id: The producer's.
        member: Whose positions they are; generation -1 for nobody's, where the transactional id alone decides who may write them.
        producer_id: The producer's.
        producer_epoch: The producer's.
        topics: Offset and metadata by topic and partition.
        implicit: Whether the group becomes part of the transaction by this.

    Returns:
        The request.
    """
    kind = TxnOffsetCommitRequest_v5 if implicit else TxnOffsetCommitRequest_v3
    tagged = [(topic, [(partition, offset, -1, metadata, _TAGS) for partition, offset, metadata in positions], _TAGS) for topic, positions in topics]
    who = member.generation, member.member_id, member.instance_id or None
    return Exactly(kind(transactional_id, member.group, producer_id, producer_epoch, *who, tagged, _TAGS))


def end(transactional_id: str, producer_id: int, producer_epoch: int, *, committed: bool) -> Request[RequestStruct]:
    """End a transaction."""
    return Exactly(EndTxnRequest_v5(transactional_id, producer_id, producer_epoch, committed, _TAGS))
