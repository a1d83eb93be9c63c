"""One table says which topics there are."""

from __future__ import annotations

import pytest

from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.topics import DEAD_STAGES, HELD, RETRY_DELAYS, TOPICS, Topic, declared_topics, topic_settings


def declared(*destinations: str, partitions: int = 4) -> dict[str, int]:
    """Give partitions by name of what a workspace needs."""
    topics = list(declared_topics("shop", destinations=destinations, dedup_processors=["validate"], partitions=partitions))
    assert len(topics) == len({topic.name for topic in topics})
    return {topic.name: topic.partitions for topic in topics}


def test_a_workspace_needs_these_topics() -> None:
    """All names, written out; every one is under the workspace's prefix."""
    names = "raw validated enriched routed deliveries ledger handled blocked config jobs validate.dedup.changelog"
    names += " requests.crm requests.crm.retry requests.crm.replay retry.10s retry.1m retry.5m retry.10m retry.30m"
    names += " dead.ingest dead.validate dead.enrich dead.filter dead.translate dead.deliver dead.lake"
    assert {f"shop.{name}" for name in names.split()} == set(declared("crm"))


def test_a_destination_adds_its_three_topics_only() -> None:
    """Without destinations there are no requests; each adds its own."""
    assert {"shop.requests.mail", "shop.requests.mail.retry", "shop.requests.mail.replay"} == declared("crm", "mail").keys() - declared("crm").keys()
    assert not [name for name in declared() if "requests" in name]


def test_order_by_user_adds_the_topic_of_what_waits() -> None:
    """A destination that keeps the order of users has one topic more; others have not."""
    topics = {topic.name for topic in declared_topics("shop", destinations=["crm", "mail"], ordered=["crm"], dedup_processors=[])}
    assert {"shop.requests.crm.held"} == {name for name in topics if name.endswith(".held")}


def test_partitions_follow_the_topology_where_events_lie() -> None:
    """The changelog has as many partitions as raw, or state would not lie beside its input; control topics have one."""
    topics = declared("crm", partitions=7)
    assert {7} == {topics[f"shop.{name}"] for name in ("raw", "validated", "enriched", "routed", "requests.crm", "validate.dedup.changelog")}
    assert {1} == {topics[f"shop.{name}"] for name in ("config", "ledger", "dead.validate", "blocked")}


@pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])
def test_settings_hold_for_every_topic(topic: Topic) -> None:
    """The broker's clock counts, a dead letter always fits, and only what is compacted has no retention."""
    settings = topic_settings(topic)
    assert ("LogAppendTime", str(TOPIC_MESSAGE_BYTES)) == (settings["message.timestamp.type"], settings["max.message.bytes"])
    assert (topic.name in ("config", "handled", "jobs", HELD)) == ("retention.ms" not in settings)
    assert all(isinstance(value, str) for value in settings.values())


def test_retry_delays_rise() -> None:
    """The tiers are sorted, shortest first, and no longer than half an hour."""
    assert sorted(RETRY_DELAYS.values()) == list(RETRY_DELAYS.values())
    assert 30 * 60_000 == max(RETRY_DELAYS.values())
    assert len(DEAD_STAGES) == len(set(DEAD_STAGES))
