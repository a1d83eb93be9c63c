"""`headrace topics`, `apply` and `tail` on a real Kafka, run as a user's shell runs them."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.conftest import Kafka

pytestmark = pytest.mark.integration


def _run(folder: Path, kafka: Kafka, *arguments: str) -> str:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "HEADRACE_HOME": str(folder / "home"), "HEADRACE_BOOTSTRAP": kafka.bootstrap, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "pipeline.app.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_workspace_is_applied_and_read_back(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    """Topics are made once; a version is one transaction that tail reads to its end; what is in force is not written again."""
    name = prefix.replace("_", "-").replace(".", "-").lower()
    _run(tmp_path, kafka, "init", "--name", name)
    _run(tmp_path, kafka, "source", "add", "web")
    planned = {topic["state"] for topic in orjson.loads(_run(tmp_path, kafka, "topics", "plan", "--json"))["topics"]}
    first = orjson.loads(_run(tmp_path, kafka, "apply", "--json"))
    second = orjson.loads(_run(tmp_path, kafka, "apply", "--json"))
    there = {topic["state"] for topic in orjson.loads(_run(tmp_path, kafka, "topics", "plan", "--json"))["topics"]}
    lines = _run(tmp_path, kafka, "tail", "config", "--from", "beginning", "--until", "now", "--json").splitlines()
    assert (planned, there) == ({"create"}, {"there"})
    assert (first["version"], first["changed"], second["version"], second["changed"]) == (1, True, 1, False)
    assert [orjson.loads(line)["key"] for line in lines] == [f"0000000001/workspace/{name}", "0000000001/source/web", "0000000001/commit"]
