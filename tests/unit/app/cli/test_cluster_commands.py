"""`topics`, `apply` and `tail`, on a cluster in memory that is held to the same contract as Kafka."""

import asyncio
from pathlib import Path

import orjson
import pytest

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.tail import Start, parse_start
from pipeline.app.cli.topics import Line, planned
from pipeline.model.record import Output
from pipeline.model.topics import Declared
from pipeline.runtime.brokers.memory import MemoryBroker
from tests.unit.app.cli.commands import Shell


def _write(cluster: MemoryBroker, *outputs: Output) -> None:
    async def send() -> None:
        producer = cluster.producer()
        await producer.start()
        await producer.send(outputs)
        await producer.stop()

    asyncio.run(send())


@pytest.fixture
def shop(shell: Shell, cluster: MemoryBroker) -> Shell:
    """A shell with a workspace `shop` that is applied as version 1."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    done = shell.run("apply", "--json")
    assert done.status == 0, done.err
    return shell


def test_a_plan_compares_the_table_with_the_cluster() -> None:
    """Missing, there, of another size, and unknown to the table; other workspaces' topics are nobody's business here."""
    declared = [Declared("a.raw", 4, {}), Declared("a.ledger", 1, {}), Declared("a.routed", 4, {})]
    found = {"a.ledger": 1, "a.routed": 2, "a.old": 3, "b.raw": 4}
    assert planned(declared, found, "a") == [
        Line("a.raw", "create", 4, 0),
        Line("a.ledger", "there", 1, 1),
        Line("a.routed", "partitions differ", 4, 2),
        Line("a.old", "not declared", 0, 3),
    ]


def test_topics_are_planned_then_created_then_there(shell: Shell, cluster: MemoryBroker) -> None:
    """A plan changes nothing; applying twice creates once."""
    shell.run("init", "--name", "shop")
    states = [{topic["state"] for topic in shell.run("topics", *command).json["topics"]} for command in (("plan", "--json"),) * 2]
    assert states == [{"create"}, {"create"}]
    assert {topic["state"] for topic in shell.run("topics", "apply", "--json").json["topics"]} == {"created"}
    assert {topic["state"] for topic in shell.run("topics", "apply", "--json").json["topics"]} == {"there"}
    assert "shop.validate.dedup.changelog" in shell.run("topics", "plan").out


def test_another_number_of_partitions_stops_apply(shop: Shell, tmp_path: Path) -> None:
    """Keys would lie in wrong partitions, so nothing is published."""
    (tmp_path / "wide.yaml").write_text(
        "topology: wide\npartitions: 8\nprocessors:\n  v: {input: raw, steps: [filter], lanes: {main: routed, dead: 'dead.{stage}'}}\n"
    )
    for command in (("apply",), ("topics", "apply")):
        done = shop.run(*command, "--topology", "wide.yaml")
        assert done.status == 1
        assert "shop.raw has 4 and should have 8" in done.err


def test_apply_writes_a_version_only_when_something_changed(shop: Shell) -> None:
    """Version 1, nothing, version 2 with a new destination's topics."""
    unheard = "nothing takes the events of web: name it in sources of a destination or a storage"
    assert shop.run("apply", "--json").json == {"workspace": "shop", "version": 1, "changed": False, "created": [], "warnings": [unheard]}
    shop.run("destination", "add", "webhook", "--id", "crm", "--source", "web", "--set", "url=http://x")
    assert shop.run("apply", "--json").json == {
        "workspace": "shop",
        "version": 2,
        "changed": True,
        "created": ["shop.requests.crm", "shop.requests.crm.retry", "shop.requests.crm.replay"],
        "warnings": [],
    }
    assert "nothing changed, version 2 stays in force" in shop.run("apply").out


def test_apply_warns_as_check_does(shop: Shell) -> None:
    """A URL that leads inside, a source that nobody hears, a secret that is not set: on the standard error, and for a script."""
    shop.run("destination", "add", "webhook", "--id", "crm", "--set", "url=http://10.0.0.7/", "--set", "shared_secret=${env:NOT_SET}")
    checked = shop.run("check", "--json").json["warnings"]
    assert [True] * 2 == [any(part in one for one in checked) for part in ("10.0.0.7, which is not public", "${env:NOT_SET} is not set")]
    assert checked == shop.run("apply", "--json").json["warnings"]
    assert "warning: workspace.yaml:" in shop.run("apply").err


def test_apply_comes_after_a_version_that_was_refused(shop: Shell, cluster: MemoryBroker) -> None:
    """A number is used once: what stands in the topic as version 2, though broken, is followed by 3, even without a change."""
    _write(cluster, Output("shop.config", b"0000000002/commit", b'{"version": 2, "at": 0, "objects": 9}', partition=0))
    assert shop.run("apply", "--json").json["version"] == 3


def test_apply_refuses_a_workspace_with_faults(shop: Shell, tmp_path: Path) -> None:
    """Problems are told, and version 1 stays."""
    file = tmp_path / "workspace.yaml"
    sound = file.read_text()
    file.write_text(sound + "colour: red\n")
    done = shop.run("apply")
    assert done.status == 1
    assert "unknown key colour" in done.err
    file.write_text(sound)
    assert shop.run("apply", "--json").json["version"] == 1


def test_tail_prints_a_line_of_json_for_each_message(shop: Shell, cluster: MemoryBroker) -> None:
    """The event stands under `value`, big integers exactly; what is no JSON is text; the command ends at the present end."""
    _write(
        cluster,
        Output("shop.raw", b"u1", b'{"event":"A","n":12345678901234567890123}', (("source", b"web"),), partition=0),
        Output("shop.raw", None, b"not \xff json", partition=0),
        Output("shop.raw", b"u1", None, partition=0),
    )
    lines = shop.run("tail", "raw", "--from", "beginning", "--until", "now", "--json").out.splitlines()
    assert '"value":{"event":"A","n":12345678901234567890123}' in lines[0].replace(" ", "")
    assert [orjson.loads(line)["offset"] for line in lines] == [0, 1, 2]
    assert orjson.loads(lines[1])["value"] == "not \ufffd json"
    assert orjson.loads(lines[2])["value"] is None
    first = orjson.loads(lines[0])
    assert (first["topic"], first["partition"], first["key"], first["headers"]) == ("shop.raw", 0, "u1", {"source": "web"})


def test_tail_begins_where_it_is_told(shop: Shell, cluster: MemoryBroker) -> None:
    """An offset, the end, a time; the name may have the prefix."""
    _write(cluster, *(Output("shop.raw", b"u1", b'{"n":%d}' % number, partition=0) for number in range(3)))

    def offsets(begin: str) -> list[int]:
        out = shop.run("tail", "shop.raw", "--from", begin, "--until", "now", "--json").out
        return [orjson.loads(line)["offset"] for line in out.splitlines()]

    assert offsets("1") == [1, 2]
    assert offsets("end") == []
    assert offsets("2020-01-01") == [0, 1, 2]
    assert offsets("2999-01-01T00:00:00Z") == []


def test_tail_for_people_shows_place_key_and_value(shop: Shell, cluster: MemoryBroker) -> None:
    """Markup and control characters in data are shown, not obeyed."""
    _write(cluster, Output("shop.raw", b"[bold]u1", b'{"a":"[red]b"}', partition=0), Output("shop.raw", b"\x1b[2J", b"\x1b[31m", partition=0))
    out = shop.run("tail", "raw", "--from", "beginning", "--until", "now").out
    assert "shop.raw/0/0 [bold]u1" in out
    assert '{"a":"[red]b"}' in out
    assert "\\x1b[2J" in out
    assert "\x1b" not in out


def test_a_topic_that_is_not_there_is_guessed(shop: Shell) -> None:
    """A slip of the pen gets a suggestion, without the prefix."""
    done = shop.run("tail", "rwa", "--until", "now")
    assert (done.status, done.err) == (1, "error: there is no topic rwa\n  → did you mean raw?\n")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("beginning", Start(0)),
        ("end", Start(-1)),
        ("42", Start(42)),
        ("1970-01-01T00:00:01Z", Start(0, 1000)),
        ("1970-01-01T00:00:01", Start(0, 1000)),
        ("1970-01-01T01:00:01+01:00", Start(0, 1000)),
    ],
)
def test_a_start_is_a_word_an_offset_or_a_time(text: str, start: Start) -> None:
    """A time without a zone is UTC."""
    assert parse_start(text) == start


@pytest.mark.parametrize("text", ["", "-1", "12:00", "²"])
def test_anything_else_is_no_start(text: str) -> None:
    """It is refused as wrong use."""
    with pytest.raises(CommandError):
        parse_start(text)


def test_a_destination_is_parked_and_resumed(shop: Shell, cluster: MemoryBroker) -> None:
    """The command reaches the topic `config` under a key of its own, newer than the one before; an unknown destination is refused with a hint."""
    shop.run("destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example.com/hook")
    shop.run("apply")
    assert {"destination": "crm", "parked": True} == shop.run("destination", "park", "crm", "--json").json
    assert "takes requests again" in shop.run("destination", "resume", "crm").out
    commands = [orjson.loads(one.value or b"") for one in cluster.log("shop.config")[0] if one.key == b"parked/crm"]
    assert [True, False] == [one["parked"] for one in commands]
    assert commands[0]["at"] < commands[1]["at"]
    refused = shop.run("destination", "park", "crn")
    assert (2, True) == (refused.status, "crm" in refused.err)


def test_resuming_has_older_requests_translated_anew_unless_they_are_to_go_as_sent(shop: Shell, cluster: MemoryBroker) -> None:
    """The command names the version that changed the destination; a dry run says what waits, and writes nothing."""
    shop.run("destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example.com/hook")
    shop.run("apply")
    waiting = Output("shop.requests.crm", b"k", b'{"url":"old"}', (("config", b"1"), ("event_origin", b"shop.routed/0/7"), ("mapping", b"send")))
    cluster.append([waiting, waiting._replace(headers=(("config", b"2"),))])
    looked = shop.run("destination", "resume", "crm", "--dry-run", "--json").json
    assert (2, {"as rendered", "as rendered: the event is no longer kept"}) == (looked["waiting"], {one["how"] for one in looked["requests"]})
    assert "dry run: 2 wait for crm, 0 would be translated anew" in shop.run("destination", "resume", "crm", "--dry-run").out
    assert [["as rendered", 2]] == [
        [one["how"], one["requests"]] for one in shop.run("destination", "resume", "crm", "--dry-run", "--as-sent", "--json").json["requests"]
    ]
    assert not [one for one in cluster.log("shop.config")[0] if one.key == b"parked/crm"]
    assert "rendered before version 2" in shop.run("destination", "resume", "crm").out
    assert 0 == shop.run("destination", "resume", "crm", "--as-sent", "--json").json["anew_below"]
    commands = [orjson.loads(one.value or b"") for one in cluster.log("shop.config")[0] if one.key == b"parked/crm"]
    assert [2, None] == [one.get("anew_below") for one in commands]
