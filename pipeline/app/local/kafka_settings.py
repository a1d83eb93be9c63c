"""What the local broker is told: its settings, its log's settings and the JVM's flags, as text."""

from pathlib import Path

MESSAGE_MAX_BYTES = 2 * 1024 * 1024

# Measured on 2 cores: C1 only and the serial collector start in 3.1 s and 3 CPU s instead of 4.3 s and 6 CPU s.
JVM_FLAGS = (
    "-Xms64m",
    "-Xmx330m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)


def broker_properties(data: Path, port: int, controller_port: int) -> str:
    """Settings of a single node that is broker and controller, for Kafka 4.x.

    Args:
        data: Folder of the log segments.
        port: Clients connect here, on 127.0.0.1 only.
        controller_port: The node talks to itself here; may differ from start to start.

    Returns:
        The text of a properties file (names: the broker's configuration reference of Apache Kafka).
    """
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # A broker that was killed comes back only when its old session is over; the default is 9 s.
        "broker.session.timeout.ms": 4_000,
        "broker.heartbeat.interval.ms": 1_000,
        # Topics are made by `headrace topics apply`; a typo must not make one.
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A dead owner's transaction blocks readers until the broker aborts it: look each second, not each 10.
        "transaction.max.timeout.ms": 60_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        "group.initial.rebalance.delay.ms": 0,
        # Windows, replay ranges and retention must not depend on a writer's clock.
        "log.message.timestamp.type": "LogAppendTime",
        "message.max.bytes": MESSAGE_MAX_BYTES,
        "replica.fetch.max.bytes": MESSAGE_MAX_BYTES,
        "socket.request.max.bytes": 32 * 1024 * 1024,
        # A laptop's disk: small segments, so that retention can act, and a bound for topics that set none.
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.retention.bytes": 256 * 1024 * 1024,
        "log.retention.check.interval.ms": 30_000,
        "log.segment.delete.delay.ms": 5_000,
        # A laptop's memory: the default buffer for compaction is 128 MiB.
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def log_properties(log: Path) -> str:
    """Settings of Log4j 2: everything to a rolling file of at most 40 MB, and the server's own few words to the standard output.

    Args:
        log: The file; older ones get `.1` to `.3`.

    Returns:
        The text of a Log4j 2 properties file.
    """
    settings: dict[str, object] = {
        "status": "error",
        "appender.console.type": "Console",
        "appender.console.name": "console",
        "appender.console.layout.type": "PatternLayout",
        "appender.console.layout.pattern": "%p %m%n",
        "appender.file.type": "RollingFile",
        "appender.file.name": "file",
        "appender.file.fileName": log,
        "appender.file.filePattern": f"{log}.%i",
        "appender.file.layout.type": "PatternLayout",
        "appender.file.layout.pattern": "%d{ISO8601} %p %m (%c)%n",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": 3,
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
        "logger.server.name": "kafka.server.KafkaRaftServer",
        "logger.server.level": "info",
        "logger.server.appenderRef.console.ref": "console",
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: object) -> str:
    """A value as Java's properties format reads it back: the backslash escapes there."""
    return str(value).replace("\\", "\\\\")
