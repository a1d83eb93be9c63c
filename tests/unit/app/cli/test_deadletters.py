"""`dead list|show|redrive|discard`, on a cluster in memory that is held to the same contract as Kafka."""

import asyncio
from pathlib import Path

import orjson
import pytest

from pipeline.app.cli.deadletters import Group, grouped
from pipeline.app.cli.deadletters_text import pretty
from pipeline.dead_letters import Handled, HandledLetters, handled_record, read_letter
from pipeline.model.record import Output, Record
from pipeline.runtime.brokers.memory import MemoryBroker
from tests.unit.app.cli.commands import Shell


def _write(cluster: MemoryBroker, *outputs: Output) -> None:
    async def send() -> None:
        cluster.append(outputs)

    asyncio.run(send())


def _letter(reason: bytes = b"unknown_type", value: bytes = b'{"type":"dance","userId":"u"}', source: bytes = b"web") -> Output:
    place = (("dead_topic", b"shop.raw"), ("dead_partition", b"1"), ("dead_offset", b"7"))
    own = (("source", source), ("dead_stage", b"validate"), ("dead_reason", reason), ("dead_detail", b"at character 3"))
    return Output("shop.dead.validate", b"k", value, (*own, *place))


@pytest.fixture
def shop(shell: Shell, cluster: MemoryBroker) -> Shell:
    """A shell with a workspace `shop` that is applied as version 1."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    done = shell.run("apply", "--json")
    assert done.status == 0, done.err
    return shell


def _dead(offset: int, reason: bytes, timestamp: int) -> Record:
    return Record("shop.dead.validate", 0, offset, timestamp, None, b"{}", (("dead_reason", reason), ("dead_detail", b"d%d" % offset)))


def test_dead_letters_are_grouped_by_reason() -> None:
    """Counted, with the oldest and the newest of each, also when an older one comes later; a letter without a reason counts as unknown."""
    groups: dict[tuple[str, str, str], Group] = {}
    handled = HandledLetters()
    handled.take(*handled_record("validate", 0, [1, 2], Handled("discarded", 9)))
    records = [_dead(0, b"a", 5), _dead(1, b"b", 6), _dead(2, b"a", 4), Record("shop.dead.validate", 0, 3, 9, None, b"{}")]
    grouped([read_letter(record, "shop") for record in records], handled, groups)
    assert list(groups.values()) == [
        Group("validate", "a", "", 1, 0, 1, 4, 5, "dead.validate/0/0", "d0"),
        Group("validate", "b", "", 0, 0, 1, 6, 6, "dead.validate/0/1", "d1"),
        Group("validate", "unknown", "", 1, 0, 0, 9, 9, "dead.validate/0/3", ""),
    ]


def test_dead_letters_are_listed_and_shown_whole(shop: Shell, cluster: MemoryBroker) -> None:
    """The list says where the newest lies; that one is shown with its reason's sentence, its bytes, and where redriving sends it."""
    assert "no dead letters" in shop.run("dead", "list").out
    _write(cluster, *(_letter(b"invalid_json", b"{odd") for _ in range(2)))
    listed = shop.run("dead", "list", "--json").json["dead"]
    assert [(one["processor"], one["reason"], one["open"], one["newest"], one["detail"]) for one in listed] == [
        ("validate", "invalid_json", 2, "dead.validate/0/1", "at character 3")
    ]
    assert "dead.validate/0/1" in shop.run("dead", "list", "--processor", "validate", "--source", "web", "--from", "-1h").out
    for nothing in (("--processor", "deliver.crm"), ("--destination", "crm"), ("--source", "app"), ("--to", "-1h"), ("--reason", "rejected")):
        assert "no dead letters" in shop.run("dead", "list", *nothing).out
    shown = shop.run("dead", "show", "dead.validate/0/1").out
    assert "invalid_json: The value is not JSON that can be carried." in shown
    assert "\n4 bytes\n{odd\n" in shown
    assert "headrace dead redrive dead.validate/0/1 sends it to raw, judged anew." in shown
    data = shop.run("dead", "show", "dead.validate/0/1", "--json").json
    assert ("{odd", {"topic": "raw", "how": "judged anew", "stays": ""}) == (data["value"], data["redrive"])
    assert "{odd" == shop.run("dead", "show", "dead.validate/0/1", "--bytes").out
    for place in ("dead.validate/0/9", "dead.validate/7/0"):
        assert f"there is no message at {place}" in shop.run("dead", "show", place).err


def test_a_detail_that_is_the_reasons_sentence_is_said_once(shop: Shell, cluster: MemoryBroker) -> None:
    """What ingest writes as the detail is often the very sentence of the reason."""
    own = (("source", b"web"), ("dead_stage", b"ingest"), ("dead_reason", b"not_an_object"), ("dead_detail", b"The event is not a JSON object."))
    _write(cluster, Output("shop.dead.ingest", b"k", b"1", own))
    assert shop.run("dead", "list").out.count("The event is not a JSON object.") == 1


def test_redriven_and_discarded_letters_are_listed_only_on_request(shop: Shell, cluster: MemoryBroker) -> None:
    """Each is handled once, by whatever is called; the list counts those that are open, and with --all what was done with the others."""
    _write(cluster, *(_letter() for _ in range(3)))
    dry = shop.run("dead", "redrive", "dead.validate/0/1", "--dry-run").out
    assert "dry run: 1 would be redriven (1 to raw)" in dry
    assert [] == cluster.log("shop.handled")[0]
    assert shop.run("dead", "redrive", "dead.validate/0/1").out.endswith("✓ 1 redriven (1 to raw)\n")
    assert shop.run("dead", "discard", "--all", "--because", "a test").out.endswith("✓ 2 discarded, 1 were handled before\n")
    assert shop.run("dead", "redrive", "--all", "--rate", "100").out.endswith("no such dead letter is open, 3 were handled before\n")
    assert "no dead letters" in shop.run("dead", "list").out
    (group,) = shop.run("dead", "list", "--all", "--json").json["dead"]
    assert (0, 1, 2) == (group["open"], group["redriven"], group["discarded"])
    assert "It was discarded at" in (shown := shop.run("dead", "show", "dead.validate/0/2").out)
    assert ": a test." in shown
    (again,) = [record for partition in cluster.log("shop.raw") for record in partition]
    assert (b'{"type":"dance","userId":"u"}', b"1", b"shop.raw/1/7") == (
        again.value,
        dict(again.headers)["redriven"],
        dict(again.headers)["redriven_from"],
    )


def test_what_a_script_reads_of_a_run(shop: Shell, cluster: MemoryBroker) -> None:
    """The counts, and each kind of letter with where it goes and how."""
    _write(cluster, _letter(), Output("shop.dead.deliver", b"k", b"{}", (("dead_reason", b"rejected"), ("dead_destination", b"gone"))))
    done = shop.run("dead", "redrive", "--all", "--json").json
    assert (1, 1, 0) == (done["redriven"], done["stay"], done["handled_before"])
    assert {("validate", "raw", ""), ("deliver", "", "no destination gone is declared")} == {
        (one["stage"], one["topic"], one["why"]) for one in done["letters"]
    }


HOOK = """
  - id: forms
    type: webhook
    secrets: ["${env:S}"]
    mappings: [{name: m, trigger: body.a = 1, fields: {type: %s, event: Sold}}]
"""


def test_a_webhook_s_delivery_is_mapped_anew(shop: Shell, cluster: MemoryBroker) -> None:
    """Where its mapping failed it stays until the mapping is mended; then its event goes to raw. One that nobody vouched for stays for ever."""
    path = Path("workspace.yaml")
    declared = path.read_text(encoding="utf-8")

    def apply(call: str) -> None:
        path.write_text(declared.replace("sources:", f"sources:{HOOK % call}".rstrip(), 1), encoding="utf-8")
        assert shop.run("apply").status == 0

    apply("purchase")
    own = (("source", b"forms"), ("webhook", b"generic"), ("dead_stage", b"ingest"), ("received_at", b"1767225600000"))
    _write(
        cluster,
        Output("shop.dead.ingest", None, b'{"a":1}', (*own, ("dead_reason", b"unknown_type"), ("webhook_headers", b'{"webhook-id":"d-1"}'))),
        Output("shop.dead.ingest", None, b'{"a":1}', (*own, ("dead_reason", b"invalid_signature"))),
    )
    assert "no event can be made of it still" in shop.run("dead", "redrive", "--source", "forms").out
    apply("track")
    assert "sends it to raw, mapped anew." in shop.run("dead", "show", "dead.ingest/0/0").out
    done = shop.run("dead", "redrive", "--source", "forms").out
    assert "have its sender send it again" in done
    assert "✓ 1 redriven (1 to raw), 1 stay" in done
    (record,) = [record for partition in cluster.log("shop.raw") for record in partition]
    event, headers = orjson.loads(record.value or b""), dict(record.headers)
    assert ("track", "Sold", "d-1") == (event["type"], event["event"], event["messageId"])
    assert (b"forms", b"1", b"1767225600000") == (headers["source"], headers["redriven"], headers["received_at"])
    assert "webhook" not in headers


def test_nothing_is_redriven_before_a_configuration_is_in_force(shell: Shell, cluster: MemoryBroker) -> None:
    """There is nothing to judge with; the letter can still be looked at."""
    shell.run("init", "--name", "shop")
    shell.run("topics", "apply")
    _write(cluster, _letter())
    assert "no configuration of shop is in force" in shell.run("dead", "redrive", "--all").err
    assert "No configuration is in force yet" in shell.run("dead", "show", "dead.validate/0/0").out


def test_a_message_is_written_for_a_person() -> None:
    """JSON is indented, exact numbers too where they can be, and other bytes are text."""
    assert '{\n  "a": 1\n}' == pretty(b'{"a":1}')
    assert '{"a":123456789012345678901234567890}' == pretty(b'{"a":123456789012345678901234567890}')
    assert "\ufffd" == pretty(b"\xff")
    assert orjson.loads(pretty(b'{"a":null}')) == {"a": None}
