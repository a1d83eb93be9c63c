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
from aiokafka.errors import KafkaError

from pipeline.ports.broker import BrokerError, TopicState
from pipeline.runtime.brokers.kafka_topics import describe_topics

ANSWER_MS: Final = 10_000
"""Longest wait for an answer of a broker that stands still: all who ask wait for it, and may then ask another one."""


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
        self._changing = asyncio.Lock()

    async def client(self, user: object) -> AIOKafkaAdminClient:
        """Give the client, connected.

        Args:
            user: Who asks, until it leaves.

        Raises:
            KafkaError: It cannot connect.
            OSError: The same.
        """
        self._users.add(user)
        async with self._changing:
            if self._admin is None:
                admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=ANSWER_MS)
                try:
                    ask_only_for_needed_topics(admin._client)  # noqa: SLF001 (aiokafka 0.14 does not show it)
                    await admin.start()
                except BaseException:  # a wait that was given up, too
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def describe(self, user: object, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Ask the broker what topics are now; a client that fails is thrown away, and who asks next gets a fresh one.

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
            return await describe_topics(admin._client, topics)  # noqa: SLF001 (as above)
        except (KafkaError, OSError, AssertionError) as error:  # the last is how aiokafka says that it has no connection
            if admin is not None:
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
        async with self._changing:
            if not self._users and self._admin is not None:
                admin, self._admin = self._admin, None
                await admin.close()
