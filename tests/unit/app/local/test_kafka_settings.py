"""What the local broker is told."""

from pathlib import Path

from pipeline.app.local.kafka_settings import broker_properties, log_properties


def properties(text: str) -> dict[str, str]:
    """Read a properties file, as far as ours use the format."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def test_the_broker_listens_on_loopback_only() -> None:
    """Each listener and the advertised address are 127.0.0.1."""
    settings = properties(broker_properties(Path("/home/me/data"), 7072, 7073))

    assert "PLAINTEXT://127.0.0.1:7072,CONTROLLER://127.0.0.1:7073" == settings["listeners"]
    assert "PLAINTEXT://127.0.0.1:7072" == settings["advertised.listeners"]
    assert "1@127.0.0.1:7073" == settings["controller.quorum.voters"]


def test_topics_are_never_made_by_a_typo_and_take_append_time() -> None:
    """Topics come from one table, hold 2 MiB records and carry the broker's time."""
    settings = properties(broker_properties(Path("/data"), 1, 2))

    assert "false" == settings["auto.create.topics.enable"]
    assert "LogAppendTime" == settings["log.message.timestamp.type"]
    assert "2097152" == settings["message.max.bytes"] == settings["replica.fetch.max.bytes"]


def test_the_log_is_bounded_and_goes_where_it_is_told() -> None:
    """Four files of 10 MB at most, and the server's own words to the standard output."""
    settings = properties(log_properties(Path("/home/me/logs/kafka.log")))

    assert "/home/me/logs/kafka.log" == settings["appender.file.fileName"]
    assert ("10MB", "3") == (settings["appender.file.policies.size.size"], settings["appender.file.strategy.max"])
    assert "kafka.server.KafkaRaftServer" == settings["logger.server.name"]


def test_a_backslash_in_a_path_survives() -> None:
    """Java's properties format reads a backslash as an escape, so it is doubled."""
    assert r"/odd\\folder" == properties(broker_properties(Path(r"/odd\folder"), 1, 2))["log.dirs"]
