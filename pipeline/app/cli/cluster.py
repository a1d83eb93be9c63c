"""How commands reach Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from pipeline.app.cli.errors import CommandError
from pipeline.app.declared import config_fold
from pipeline.app.settings import Settings
from pipeline.declaration import ConfigFold, DestinationHistory
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Broker
from pipeline.runtime.brokers.kafka import KafkaBroker

Result = TypeVar("Result")


def connect(bootstrap: str, settings: Settings) -> Broker:
    """Choose the cluster; nothing is sent yet.

    Args:
        bootstrap: What `--bootstrap` says, or empty.
        settings: The settings.

    Returns:
        The broker.

    Raises:
        CommandError: No address is known.
    """
    address = bootstrap or settings.bootstrap
    if not address:
        raise CommandError(
            "no Kafka is known", f"start one with `headrace up` (its state is looked for in {settings.home}), or give --bootstrap HOST:PORT"
        )
    # What the client logs on its way to an error stands in the error too.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return KafkaBroker(address, "headrace-cli")


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what awaits, to its end.

    Args:
        work: A coroutine.

    Returns:
        What it returns.
    """
    return asyncio.run(work)


async def read_config(broker: Broker, workspace: str) -> ConfigFold:
    """Read the topic `config` to its present end.

    Args:
        broker: The cluster.
        workspace: Name of the workspace.

    Returns:
        What it says; empty where the topic does not exist yet.
    """
    return (await read_config_history(broker, workspace))[0]


async def read_config_history(broker: Broker, workspace: str) -> tuple[ConfigFold, DestinationHistory]:
    """Read the topic `config` to its present end, and since when each destination has been as it is.

    Args:
        broker: The cluster.
        workspace: Name of the workspace.

    Returns:
        What it says; empty where the topic does not exist yet.
    """
    fold, history = config_fold(), DestinationHistory()
    topic = topic_name(workspace, "config")
    if topic not in await broker.admin().topics():
        return fold, history
    async for records in broker.reader().read(topic):
        for record in records:
            fold.take(record.key, record.value)
            history.take(record.key, record.value)
    return fold, history
