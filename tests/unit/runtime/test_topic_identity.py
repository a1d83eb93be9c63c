"""A topic is the same while its id and its number of partitions are."""

from __future__ import annotations

from pipeline.ports.broker import Position, TopicState
from pipeline.runtime.topic_identity import position_fault, topic_fault

NOW = TopicState(4, "b")


def test_the_same_topic_has_no_fault() -> None:
    """As many partitions as wanted, or nothing wanted; the same id and number as when it was pinned."""
    assert "" == topic_fault("t", NOW)
    assert "" == topic_fault("t", NOW, wanted=4)
    assert "" == topic_fault("t", NOW, pinned=NOW)


def test_another_topic_is_named_with_its_remedy() -> None:
    """Missing, made anew, grown: each has its own sentence."""
    assert topic_fault("t", None) == "there is no topic t; `headrace apply` makes it"
    assert "made anew" in topic_fault("t", NOW, pinned=TopicState(4, "a"))
    assert topic_fault("t", NOW, wanted=2).startswith("the topic t has 4 partitions, not 2")
    assert topic_fault("t", NOW, pinned=TopicState(2, "b")).startswith("the topic t has 4 partitions, not 2")


def test_a_position_belongs_to_one_topic() -> None:
    """One of another topic is a fault; none, one set by hand, and a broker that knows no ids are not."""
    assert position_fault("g", "t", Position(7, "", "a"), NOW).startswith("the offset 7 that g committed belongs to an earlier topic t")
    assert "" == position_fault("g", "t", Position(7, "", "b"), NOW)
    assert "" == position_fault("g", "t", Position(7), NOW)
    assert "" == position_fault("g", "t", None, NOW)
    assert "" == position_fault("g", "t", Position(7, "", "a"), TopicState(4))
