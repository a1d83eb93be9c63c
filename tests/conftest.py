"""What tests share: one real broker for the session, and names of their own on it."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import pytest


class Kafka(NamedTuple):
    """A running broker."""

    bootstrap: str


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One real Kafka for the session, started when the first test asks for it."""
    home = tmp_path_factory.mktemp("kafka")
    command = [sys.executable, "-m", "pipeline.app.local.kafka", "--home", str(home), "--port", "0"]
    with (home / "launcher.log").open("w+b") as log:
        launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        try:
            assert launcher.stdout is not None
            word, _, bootstrap = launcher.stdout.readline().decode().strip().partition(" ")
            assert word == "ready", (home / "launcher.log").read_text(encoding="utf-8")
            yield Kafka(bootstrap)
        finally:
            launcher.terminate()
            launcher.wait(timeout=30)
            assert launcher.stdout is not None
            launcher.stdout.close()


@pytest.fixture
def prefix() -> str:
    """Prefix for topics, groups and transactional ids that no other test uses."""
    return f"test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
