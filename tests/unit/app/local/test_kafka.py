"""The local broker: what can go wrong at its start, and that it keeps its data."""

import asyncio
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.app.local.kafka import KafkaStartError, LocalKafka, check_port_free, cluster_id, free_port, free_ports
from pipeline.app.local.tether import tethered


def test_a_taken_port_is_named() -> None:
    """Who starts a second run is told which port is taken, and what for."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(KafkaStartError, match=rf"port {port}, which Kafka needs, is in use"):
            check_port_free(port, "Kafka")


def test_a_free_port_passes() -> None:
    """A port that nobody listens on is no error."""
    check_port_free(free_port(), "Kafka")


async def test_a_start_on_a_taken_port_leaves_nothing_running(tmp_path: Path) -> None:
    """The start says so before anything is fetched or formatted."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        broker = LocalKafka(tmp_path, other.getsockname()[1], jars=tmp_path / "jars")

        with pytest.raises(KafkaStartError):
            await broker.start(print)

    assert broker.pid is None
    assert not (tmp_path / "jars").exists()


@pytest.mark.parametrize("home", ["/home/me/.headrace", "/tmp/a", "/tmp/b", "/x y/ü"])  # noqa: S108 - only text here
def test_a_cluster_id_is_one_that_kafka_reads(home: str) -> None:
    """22 characters of URL-safe base64, not starting like an option, the same for the same home."""
    text = cluster_id(Path(home))

    assert len(text) == 22
    assert "-" not in text
    assert text == cluster_id(Path(home))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux; elsewhere the next start ends the stray")
def test_a_tethered_process_dies_with_its_parent() -> None:
    """Killing the parent outright kills what it started."""
    parent_code = (
        "import os, subprocess; from pipeline.app.local.tether import tethered\n"
        "child = subprocess.Popen(tethered(['/bin/sleep', '600'], os.getpid()))\n"
        "print('started', flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert b"started\n" == parent.stdout.readline()
        parent.kill()
        # Parent and child both hold the pipe's other end: it closes when both are gone.
        closed, _, _ = select.select([parent.stdout], [], [], 30)
        assert closed
        assert b"" == parent.stdout.read()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux; elsewhere the next start ends the stray")
def test_a_tether_to_a_parent_that_is_gone_runs_nothing(tmp_path: Path) -> None:
    """If the parent went before the tie was made, the command does not start."""
    touched = tmp_path / "touched"

    done = subprocess.run(tethered(["/bin/touch", str(touched)], parent=os.getppid()), check=False)

    assert done.returncode == 1
    assert not touched.exists()


@pytest.mark.integration
async def test_data_is_there_after_a_restart(tmp_path: Path) -> None:
    """A record written before a stop is read after the next start, at its offset, with the broker's time."""
    broker = LocalKafka(tmp_path, free_port())
    await broker.start(print)
    try:
        await write_one(broker.bootstrap)
    finally:
        await broker.stop()
    assert broker.pid is None

    await broker.start(print)
    try:
        value, offset, timestamp_type = await asyncio.wait_for(read_one(broker.bootstrap), 30)
    finally:
        await broker.stop()

    assert (b"kept", 0, 1) == (value, offset, timestamp_type)


@pytest.mark.integration
class _Probe:
    """A socket to which the system gives the ports 7 and 8 in turn."""

    given = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, _address: tuple[str, int]) -> None:
        _Probe.given += 1
        self.port = 7 + (_Probe.given - 1) % 2

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


def test_a_port_that_is_spoken_for_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broker and controller never get one port for both, though nobody listens on the first yet."""
    monkeypatch.setattr("pipeline.app.local.kafka.socket.socket", _Probe)
    assert 8 == free_port(besides=7)
    assert 7 == free_port()


async def test_a_second_run_on_the_same_home_is_told_who_has_it(tmp_path: Path) -> None:
    """The message names the process that runs the broker."""
    broker = LocalKafka(tmp_path, free_port())
    await broker.start(print)
    try:
        with pytest.raises(KafkaStartError, match=f"process {os.getpid()} runs a broker .*HEADRACE_HOME"):
            await LocalKafka(tmp_path, free_port()).start(print)
    finally:
        await broker.stop()


async def write_one(bootstrap: str) -> None:
    """Make a topic and write one record to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", b"kept")


async def read_one(bootstrap: str) -> tuple[bytes | None, int, int]:
    """Read the first record: its value, its offset and its kind of timestamp (1 is the broker's)."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("kept", 0)])
        record = await consumer.getone()
        return record.value, record.offset, record.timestamp_type


def test_ports_that_are_asked_for_together_differ() -> None:
    """No two are the same, and none is one that is spoken for."""
    first = free_ports(20)
    second = free_ports(20, first)
    assert 40 == len({*first, *second})
    assert 20 == len(second)
