"""The world around a driver: a broker that can cut a transaction off, secrets, and files under one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pipeline.declaration import references_in
from pipeline.model.record import Output, TopicPartition
from pipeline.model.workspace import Storage, Workspace
from pipeline.ports.broker import Committed, Membership, Position, Uncertain
from pipeline.ports.clock import Clock
from pipeline.runtime.brokers.memory import MemoryBroker, MemoryTransactions

Moment = Literal["before commit", "after commit"]
"""When a crash happens: the transaction is lost, or it is stored and its owner never learns it."""


class CrashingBroker(MemoryBroker):
    """A broker in memory whose next transaction of a group can be cut off.

    Args:
        clock: Gives the append time.

    Attributes:
        activity: Grows with each write and each commit.
        crashes: When the next transaction of a group is cut off, by group.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.activity = 0
        self.crashes: dict[str, Moment] = {}

    def append(self, outputs: Sequence[Output]) -> dict[TopicPartition, int]:
        """Write records at once; see `MemoryBroker`."""
        self.activity += 1
        return super().append(outputs)

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> MemoryTransactions:
        """Make what commits, not started."""
        return _CrashingTransactions(self, transactional_id, membership)


class _CrashingTransactions(MemoryTransactions):
    def __init__(self, broker: CrashingBroker, transactional_id: str, membership: Membership | None) -> None:
        super().__init__(broker, transactional_id, membership)
        self._crashing = broker

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        moment = self._crashing.crashes.pop(group, None)
        if moment == "before commit":
            raise Uncertain(f"crashed as asked before a transaction of {group}")
        committed = await super().commit(outputs, positions, group)
        if moment == "after commit":
            raise Uncertain(f"crashed as asked after a transaction of {group}")
        return committed


def resolver(secrets: Mapping[str, str], text: str) -> str:
    """Fill references to secrets in a text.

    Args:
        secrets: Values by the name of the variable or the path of the file.
        text: Text with `${env:NAME}` or `${file:PATH}`.

    Returns:
        The text with the values.

    Raises:
        ValueError: A secret was not given.
    """
    for reference in references_in(text):
        if reference.name not in secrets:
            raise ValueError(f"the secret {reference.name} is not there")
        text = text.replace(reference.text, secrets[reference.name])
    return text


def with_storage_under(root: Path, workspace: Workspace) -> Workspace:
    """Put all storage of a workspace under one folder.

    Args:
        root: The folder.
        workspace: What is declared.

    Returns:
        The same with each storage in a folder named after it.
    """

    def moved(storage: Storage) -> Storage:
        return replace(storage, settings={**storage.settings, "path": str(root / storage.id)})

    return replace(workspace, storage={name: moved(storage) for name, storage in workspace.storage.items()})
