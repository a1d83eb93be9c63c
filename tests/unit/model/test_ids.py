"""Keys lie where Kafka puts them, and ids are derived the same way each time."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.ids import derived_message_id, event_key, murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_vectors_of_kafka(key: bytes, signed: int) -> None:
    """The values of org.apache.kafka.common.utils.UtilsTest, which are signed there."""
    assert signed % 2**32 == murmur2(key)


@given(st.binary(max_size=64), st.integers(1, 64))
def test_placement_is_that_of_a_kafka_client(key: bytes, partitions: int) -> None:
    """Any key lies in the partition that aiokafka's default partitioner chooses."""
    assert murmur2_of_aiokafka(key) % 2**32 == murmur2(key)
    numbers = list(range(partitions))
    assert DefaultPartitioner()(key, numbers, numbers) == partition_of(key, partitions)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"anonymousId": "a", "userId": "u"}, b"a"),
        ({"userId": "u"}, b"u"),
        ({"anonymousId": "", "userId": "u"}, b"u"),
        ({"anonymousId": None, "userId": 7}, b"7"),
        ({"anonymousId": ["a"], "userId": "ż"}, "ż".encode()),
        ({"userId": True}, None),
        ({"userId": 1.5}, None),
        ({"userId": "\ud800"}, b"?"),
        ({}, None),
    ],
)
def test_the_key_is_the_anonymous_id_else_the_user_id(body: dict[str, Any], key: bytes | None) -> None:
    """Ids of a wrong type or without a character do not count."""
    assert key == event_key(body)


def test_a_derived_id_depends_on_all_it_is_derived_from() -> None:
    """Equal arguments give equal ids, and each argument makes a difference."""
    base = ("web", "2026-01-01T00:00:00Z", 0, b"{}")
    others = [("app", *base[1:]), ("web", "", 0, b"{}"), ("web", base[1], 1, b"{}"), (*base[:3], b"{ }")]
    ids = [derived_message_id(*arguments) for arguments in (base, base, *others)]
    assert ids[0] == ids[1]
    assert 5 == len(set(ids))
    assert 5 == uuid.UUID(ids[0]).version


def test_derived_ids_never_change() -> None:
    """The id of a known event is what it was in every release: retries of an SDK are recognised across an update."""
    assert derived_message_id("web", "2026-01-01T00:00:00Z", 0, b"{}") == str(
        uuid.uuid5(uuid.UUID("7b1f3d0e-6c5a-5d2f-9a57-2b8f6f1f3c11"), b"web\n2026-01-01T00:00:00Z\n0\n{}".hex())
    )
