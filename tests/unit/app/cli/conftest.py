"""An empty folder, a clean environment, and a shell in it; a cluster in memory where one is needed."""

import asyncio
from pathlib import Path

import pytest

from pipeline.runtime.brokers.memory import MemoryBroker
from tests.unit.app.cli.commands import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell whose current folder is empty and whose environment says nothing."""
    for name in ("HEADRACE_HOME", "HEADRACE_PORT", "HEADRACE_BOOTSTRAP", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> MemoryBroker:
    """A cluster in memory that every command of the shell finds."""

    async def made() -> MemoryBroker:
        return MemoryBroker()

    broker = asyncio.run(made())
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", "memory:1")
    monkeypatch.setattr("pipeline.app.cli.cluster.KafkaBroker", lambda _bootstrap, _client: broker)
    return broker
