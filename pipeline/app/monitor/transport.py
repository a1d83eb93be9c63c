"""faust's Kafka transport, made fit for a topic that is written in transactions.

Two things of faust 0.15 are put right here (reference: faust-streaming#596, #625): under at_least_once its consumer reads uncommitted records, and it
commits no further than the first gap in the offsets, which the markers of transactions make after every record.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP


class _CommittedReader(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Transport) -> Any:  # noqa: ANN401 (aiokafka's consumer, which only runtime.brokers may import)
        # faust reads committed records if it is in a transaction, and asks its consumer whether it is.
        self.consumer.in_transaction = True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = False


class LedgerConsumer(Consumer):
    """Reads committed records, and commits what is acknowledged whatever lies between.

    It is for an app with one agent of concurrency 1, which acknowledges in order: then all below an acknowledged offset is done.
    """

    _held = False

    def hold(self) -> None:
        """Commit nothing more: faust acknowledges what an agent took, even if it failed on it."""
        self._held = True

    def _new_consumer_thread(self) -> _CommittedReader:
        return _CommittedReader(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no account of gaps."""

    def _new_offset(self, tp: TP) -> int | None:
        acknowledged = self._acked[tp]
        if self._held or not acknowledged:
            return None
        offset: int = max(acknowledged) + 1
        acknowledged.clear()
        self._acked_index[tp].clear()
        return offset


class LedgerTransport(Transport):
    """The transport of the monitor."""

    Consumer = LedgerConsumer
