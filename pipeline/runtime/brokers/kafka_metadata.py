"""Whom and what clients ask about a cluster: about the topics that they need, over one connection for all who only ask.

aiokafka asks for all topics where it has been told of none: after a connection broke, after five minutes, and whenever it looks for a leader or a
coordinator. Decoded in Python that is 15 µs a partition; 200 destinations have hundreds of clients and thousands of partitions in one process,
and their answers come at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError, RequestTimedOutError

from pipeline.ports.broker import BrokerError, TopicState
from pipeline.runtime.brokers.kafka_topics import describe_topics

ANSWER_MS: Final = 10_000
"""Longest wait for an answer of a broker that stands still: all who ask wait for it, and may then ask another one."""
ASK_SECONDS: Final = 15.0
"""Longest wait of one who asks: aiokafka connects to one broker at a time, and who stands in line for one that stands still must not wait for the
attempts of all before. Longer than an answer's, so that the first attempt ends by itself: then aiokafka looks which brokers are left."""


class _Needed(set[str]):
    """Topics that a client needs; true even where there are none, because aiokafka takes a false one for all topics."""

    def __bool__(self) -> bool:
        return True


def ask_only_for_needed_topics(client: AIOKafkaClient) -> None:
    """Have a client ask for the topics that it was told of, and for none where there are none.

    Args:
        client: A client that is not started yet.
    """
    client._topics = _Needed(client._topics)  # noqa: SLF001 (aiokafka 0.14 has no setting for it)


class SharedAdmin:
    """One admin client for all who ask the cluster something: connected for the first of them, closed when the last has left.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._users: set[object] = set()
        self._admin: AIOKafkaAdminClient | None = None
        self._connecting: asyncio.Task[AIOKafkaAdminClient] | None = None

    async def client(self, user: object) -> AIOKafkaAdminClient:
        """Give the client, connected: all who wait for it wait for the same attempt, and who gives up waiting takes it from nobody.

        Args:
            user: Who asks, until it leaves.

        Raises:
            KafkaError: It cannot connect, or the last user has left meanwhile.
            OSError: The same.
        """
        self._users.add(user)
        if self._admin is not None:
            return self._admin
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = asyncio.create_task(self._connected(), name=f"connect to {self._bootstrap}")
            connecting.add_done_callback(self._keep)
        await asyncio.wait({connecting})
        if connecting.cancelled():
            reason = "nobody needs it any more"
            raise KafkaConnectionError(reason)
        return connecting.result()

    async def _connected(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=ANSWER_MS)
        try:
            ask_only_for_needed_topics(admin._client)  # noqa: SLF001 (aiokafka 0.14 does not show it)
            await admin.start()
        except BaseException:  # the last user has left, too
            await admin.close()
            raise
        return admin

    def _keep(self, connecting: asyncio.Task[AIOKafkaAdminClient]) -> None:
        failed = connecting.cancelled() or connecting.exception() is not None
        if self._connecting is connecting:
            self._connecting = None
            self._admin = None if failed else connecting.result()

    async def describe(self, user: object, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Ask the broker what topics are now; a client that gets no answer is thrown away, and who asks next gets a fresh one.

        Args:
            user: Who asks, until it leaves.
            topics: Their names.

        Returns:
            Those that exist.

        Raises:
            BrokerError: The broker does not answer, or may not.
        """
        admin: AIOKafkaAdminClient | None = None
        try:
            admin = await self.client(user)
            async with asyncio.timeout(ASK_SECONDS):
                return await describe_topics(admin._client, topics)  # noqa: SLF001 (as above)
        except (KafkaError, OSError, AssertionError) as error:  # the last is how aiokafka says that it has no connection
            refused = isinstance(error, BrokerResponseError) and not isinstance(error, RequestTimedOutError)  # an answer all the same
            if admin is not None and not refused:
                if self._admin is admin:
                    self._admin = None
                await admin.close()
            reason = f"{self._bootstrap} does not say what {', '.join(sorted(topics))} is now: {str(error) or type(error).__name__}"
            raise BrokerError(reason) from error

    async def leave(self, user: object) -> None:
        """Need it no more.

        Args:
            user: Who has asked, or has not.
        """
        self._users.discard(user)
        if self._users:
            return
        admin, self._admin = self._admin, None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait({connecting})
            if not connecting.cancelled() and connecting.exception() is None:  # it had connected just before
                admin = connecting.result()
        if admin is not None:
            await admin.close()
