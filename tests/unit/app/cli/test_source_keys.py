"""`headrace source key`: one key follows another."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.app.cli.send import _declared_key
from pipeline.app.declared import read_workspace
from tests.unit.app.cli.commands import Shell


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """A workspace with the source `web` and its first key."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    return shell


def test_one_key_follows_another(shop: Shell, tmp_path: Path) -> None:
    """Add the next one, move the clients, disable the first: both are shown by fingerprint, and no key stands in the file."""
    added = shop.run("source", "key", "add", "web", "--json").json
    first, second = shop.run("source", "key", "list", "web", "--json").json
    assert (added["variable"], second["key"], second["declared"]) == ("WEB_WRITE_KEY_2", added["key"], "${env:WEB_WRITE_KEY_2}")
    assert len(bytes.fromhex(added["write_key"])) * 8 == 128
    done = shop.run("source", "key", "disable", "web", first["key"])
    assert done.status == 0, done.err
    assert [one["enabled"] for one in shop.run("source", "key", "list", "web", "--json").json] == [False, True]
    source = read_workspace(tmp_path / "workspace.yaml").sources["web"]
    assert source.write_keys == ("${env:WEB_WRITE_KEY}", "${env:WEB_WRITE_KEY_2}")
    assert source.disabled_keys == ("${env:WEB_WRITE_KEY}",)
    assert added["write_key"] not in (tmp_path / "workspace.yaml").read_text()
    assert added["write_key"] not in shop.run("source", "key", "list", "web").out


def test_a_key_may_be_named_by_its_variable(shop: Shell) -> None:
    """As it stands in the file, too, or by the key itself."""
    added = shop.run("source", "key", "add", "web", "--json").json
    assert shop.run("source", "key", "disable", "web", "WEB_WRITE_KEY", "--json").json["declared"] == "${env:WEB_WRITE_KEY}"
    again = shop.run("source", "key", "disable", "web", "${env:WEB_WRITE_KEY}")
    assert (again.status, "disabled already" in again.err) == (1, True)
    itself = shop.run("source", "key", "disable", "web", added["write_key"])
    assert (itself.status, f"{added['key']} is the only enabled write key of web" in itself.err) == (1, True)
    assert added["write_key"] not in itself.err


@pytest.mark.parametrize(
    ("arguments", "status", "message", "remedy"),
    [
        (("add", "wbe"), 2, "there is no source wbe", "did you mean web?"),
        (("list", "wbe"), 2, "there is no source wbe", "did you mean web?"),
        (("disable", "web", "12345678"), 1, "the source web has no write key 12345678", "source key list web"),
        (("disable", "web", "WEB_WRITE_KEY"), 1, "WEB_WRITE_KEY is the only enabled write key of web", "source key add web"),
    ],
)
def test_a_fault_has_a_remedy(shop: Shell, tmp_path: Path, arguments: tuple[str, ...], status: int, message: str, remedy: str) -> None:
    """And the file stays as it was."""
    before = (tmp_path / "workspace.yaml").read_bytes()
    done = shop.run("source", "key", *arguments)
    assert (done.status, done.err.startswith(f"error: {message}"), remedy in done.err) == (status, True, True)
    assert before == (tmp_path / "workspace.yaml").read_bytes()


def test_the_list_names_what_is_not_set_here(shop: Shell, tmp_path: Path) -> None:
    """A key whose secret lies on another machine has no fingerprint on this one."""
    (tmp_path / ".headrace" / "secrets.env").unlink()
    assert "not set here" in shop.run("source", "key", "list", "web").out


def test_send_takes_a_key_that_is_enabled(shop: Shell, tmp_path: Path) -> None:
    """`headrace send` passes over the disabled one."""
    added = shop.run("source", "key", "add", "web", "--json").json
    shop.run("source", "key", "disable", "web", "WEB_WRITE_KEY")
    declared = read_workspace(tmp_path / "workspace.yaml")
    assert _declared_key(declared, "web") == f"${{env:{added['variable']}}}"
