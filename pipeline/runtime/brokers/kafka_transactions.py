"""What one input partition commits with, as the transactions port wants it; what it shares with others is in the joint committer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Committed, Fenced, Position, Uncertain
from pipeline.runtime.brokers.kafka_joint_committer import Call, JointCommitter


class KafkaTransactions:
    """Writes and positions of one partition, all or nothing.

    Args:
        committer: What commits, for this partition alone or for all of a member.
        transactional_id: Id that encodes group and input partition; starting it fences a stale owner.
    """

    def __init__(self, committer: JointCommitter, transactional_id: str) -> None:
        self._committer = committer
        self._id = transactional_id
        self._started = False

    async def start(self) -> None:
        """Take over the transactional id, ending what a stale owner left open."""
        try:
            await self._committer.open(self._id, self)
        except BaseException:
            await self.stop()
            raise
        self._started = True

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Write records and a group's positions, all or nothing.

        Args:
            outputs: Records in order.
            positions: Input positions to commit with them.
            group: The consumer group that they belong to.

        Returns:
            Where what was written ends.
        """
        if not self._started:
            reason = f"the producer of {self._id} is not started"
            raise Uncertain(reason)
        if not self._committer.owned(self._id, self):
            reason = f"another worker of this member has taken over {self._id}"
            raise Fenced(reason)
        try:
            return await self._committer.commit(Call(self._id, outputs, positions, group))
        except (Fenced, Uncertain):
            self._started = False  # who wants to go on starts anew, and reads its position after that
            raise

    async def stop(self) -> None:
        """Let go of the id; the last one closes the connections. Never raises."""
        self._started = False
        await self._committer.close(self._id, self)
