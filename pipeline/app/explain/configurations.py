"""Every version of the configuration that the topic `config` holds."""

from __future__ import annotations

from pipeline.app.declared import config_fold
from pipeline.assembly.recompute import Version
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Broker


async def read_versions(broker: Broker, prefix: str) -> dict[int, Version]:
    """Read all versions. Compaction keeps them: each has keys of its own, and nothing deletes one.

    Args:
        broker: The cluster.
        prefix: The workspace's name.

    Returns:
        The versions that were in force, by number; empty where there is no configuration.
    """
    fold = config_fold()
    versions: dict[int, Version] = {}
    topic = topic_name(prefix, "config")
    if topic not in await broker.admin().topics():
        return versions
    async for records in broker.reader().read(topic):
        for record in records:
            if fold.take(record.key, record.value) and fold.workspace is not None:
                versions[fold.workspace.version] = Version(fold.workspace, fold.committed_at_ms)
    return versions
