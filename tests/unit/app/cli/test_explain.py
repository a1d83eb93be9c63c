"""`headrace explain` and `headrace preview` on a whole topology in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.app.declared import read_workspace
from pipeline.resources import resource
from pipeline.testing import Driver, event
from tests.unit.app.cli.commands import Shell

WORKSPACE = """\
workspace: shop
sources:
  - id: web
    write_keys: [key-of-web]
destinations:
  - id: crm
    type: webhook
    sources: [web]
    settings: {url: "https://crm.example/hook", shared_secret: "${env:CRM_SECRET}"}
    filters:
      - {if: 'type = "page"', then: drop}
    mappings:
      - name: order
        trigger: type = "track"
        fields: {order: {"@path": "$.properties.order_id"}}
"""


@pytest.fixture
def ran(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """An order, a page that is withheld, and an event that died."""
    file = tmp_path / "workspace.yaml"
    file.write_text(WORKSPACE)
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", "memory:1")
    secret = "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLWNybQ=="
    with Driver(resource("topologies") / "default.yaml", read_workspace(file), secrets={"CRM_SECRET": secret}) as driver:
        monkeypatch.setattr("pipeline.app.cli.cluster.KafkaBroker", lambda _bootstrap, _client: driver.broker)
        driver.send(event(messageId="m-1", event="[red]Order", properties={"order_id": "o-1"}), source="web")
        driver.send(event("page", messageId="m-2"), source="web")
        driver.send(event(messageId="m-3", properties=7), source="web")
        driver.run_until_idle()
        yield driver


def test_an_event_is_explained_for_a_person(shell: Shell, ran: Driver) -> None:
    """Each stage, the request and the answer; what an event says is shown, not obeyed."""
    assert ran.read("deliveries")
    done = shell.run("explain", "m-1")
    assert (0, "") == (done.status, done.err)
    assert "m-1 · track [red]Order · source web\ncrm delivered\n" in done.out
    assert 'POST https://crm.example/hook {"order":"o-1"}' in done.out
    assert "same: what was run again gives what is stored" in done.out
    assert "dGVzdC1z" not in done.out


def test_a_rule_is_named_with_its_line(shell: Shell, ran: Driver, tmp_path: Path) -> None:
    """As long as the file declares what is in force; an edited one would name a wrong line."""
    assert ran.read("enriched")
    rule = "rule: destinations.crm.filters[0]: if 'type = \"page\"' then drop"
    assert f"{rule} (workspace.yaml:11)" in shell.run("explain", "m-2").out
    file = tmp_path / "workspace.yaml"
    file.write_text(WORKSPACE.replace('type = "page"', 'type = "screen"'))
    assert f"{rule}\n" in shell.run("explain", "m-2").out


def test_json_says_the_same(shell: Shell, ran: Driver) -> None:
    """For a script: a dead event by its id, and by the place of its letter."""
    assert ran.read("dead.validate")
    for wanted in ("m-3", "dead.validate/0/0", "shop.dead.validate/0/0"):
        done = shell.run("explain", wanted, "--json")
        last = done.json["stages"][-1]
        assert (0, "dead", "properties_not_object", "same", "dead.validate/0/0") == (
            done.status,
            last["verdict"],
            last["reason"],
            last["compared"],
            last["place"],
        )


def test_an_unknown_id_ends_with_1(shell: Shell, ran: Driver) -> None:
    """It says what was looked through; no process runs here, so that was the changelog."""
    assert ran.read("raw")
    done = shell.run("explain", "nobody-sent-this")
    assert 1 == done.status
    assert "nothing is known of nobody-sent-this" in done.out
    assert "validate.dedup.changelog/0" in done.out


@pytest.mark.parametrize("address", ["here", "here:", ":1", "here:0", "here:99999"])
def test_an_address_is_a_host_and_a_port(shell: Shell, ran: Driver, address: str) -> None:
    """Anything else is wrong use."""
    assert ran.read("raw")
    done = shell.run("explain", "m-1", "--process", address)
    assert (2, True) == (done.status, "is no address" in done.err)


def test_an_edited_workspace_is_previewed(shell: Shell, ran: Driver, tmp_path: Path) -> None:
    """What would differ is shown before it is applied; with what is in force nothing does."""
    assert ran.read("requests.crm")
    same = shell.run("preview", "--from", "2020-01-01", "--json")
    assert (0, 2, 1) == (same.status, same.json["sampled"], same.json["destinations"][0]["equal"])
    (tmp_path / "edited.yaml").write_text(WORKSPACE.replace("fields: {", "fields: {kind: {'@path': $.type}, "))
    done = shell.run("preview", "--from", "2020-01-01", "--workspace", "edited.yaml")
    assert "with the edited workspace, not applied" in done.out
    assert 'crm/order of m-1: would be sent otherwise\n  + /body/kind "track"\n' in done.out
    assert "compared with 1 requests as they were stored\n" in done.out
    assert 1 == len(ran.read("requests.crm"))


def test_a_preview_is_narrowed(shell: Shell, ran: Driver) -> None:
    """By source, event, destination and time."""
    assert ran.read("enriched")

    def sampled(*arguments: str) -> int:
        return int(shell.run("preview", "--from", "2020-01-01", "--json", *arguments).json["sampled"])

    assert 1 == sampled("--event", "[red]Order")
    assert 0 == sampled("--source", "app")
    assert 1 == sampled("--sample", "1")
    assert 0 == sampled("--to", "2021-01-01")
    wrong = shell.run("preview", "--from", "2020-01-01", "--destination", "cmr")
    assert (2, "error: there is no destination cmr\n  → did you mean crm?\n") == (wrong.status, wrong.err)
    assert 2 == shell.run("preview", "--from", "2021-01-01", "--to", "2020-01-01").status
