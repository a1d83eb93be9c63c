"""Whether a topic is still the one that was worked on: the same topic, with the same number of partitions.

An offset means something in one topic only, and a key's partition for one number of partitions only. What is not the same any more is
refused by name; nothing is ever reset in silence (design: guarantees; reference: reliability, design rule 2).
"""

from __future__ import annotations

from pipeline.ports.broker import Position, TopicState


def topic_fault(topic: str, found: TopicState | None, *, wanted: int = 0, pinned: TopicState | None = None) -> str:
    """Say what keeps a group from working on a topic.

    Args:
        topic: Its name.
        found: What the broker says of it, or None where there is none.
        wanted: How many partitions the topology gives it; 0 where it says nothing.
        pinned: What it was when the group began to work on it, or None before that.

    Returns:
        The fault and its remedy, or empty.
    """
    if found is None:
        return f"there is no topic {topic}; `headrace apply` makes it"
    if pinned is not None and pinned.topic_id != found.topic_id:
        return f"the topic {topic} was made anew while it was worked on"
    wanted = wanted or (pinned.partitions if pinned is not None else found.partitions)
    if found.partitions == wanted:
        return ""
    return (
        f"the topic {topic} has {found.partitions} partitions, not {wanted}: keys and state lie by their number. "
        "Growing is a procedure (`headrace topics grow`: drain, grow, re-key the state), never a side effect; until then nothing is judged"
    )


def position_fault(group: str, topic: str, committed: Position | None, found: TopicState) -> str:
    """Say what is wrong with a committed position.

    Args:
        group: The group that committed it.
        topic: The topic's name.
        committed: The position; one without the id of its topic was set by hand, on purpose.
        found: What the broker says of the topic.

    Returns:
        The fault and its remedy, or empty.
    """
    if committed is None or not committed.topic_id or not found.topic_id or committed.topic_id == found.topic_id:
        return ""
    return (
        f"the offset {committed.offset} that {group} committed belongs to an earlier topic {topic}, which was made anew since "
        f"({committed.topic_id}, now {found.topic_id}); `headrace offsets reset` sets the group on purpose"
    )
