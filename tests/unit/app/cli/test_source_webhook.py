"""`headrace source add --type webhook`: what to paste where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.app.cli.commands import Shell


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """An empty workspace."""
    shell.run("init", "--name", "shop")
    return shell


def test_a_secret_that_its_sender_makes(shop: Shell, tmp_path: Path) -> None:
    """For Stripe the address is shown, and where its secret goes; nothing is made up, and check warns until it is there."""
    out = shop.run("source", "add", "billing", "--type", "webhook", "--preset", "stripe").out
    assert "http://127.0.0.1:7070/v1/webhook/billing" in out
    assert "BILLING_WEBHOOK_SECRET" in out
    assert '    preset: stripe\n    secrets: ["${env:BILLING_WEBHOOK_SECRET}"]\n' in (tmp_path / "workspace.yaml").read_text()
    assert not (tmp_path / ".headrace").exists()
    (unheard, missing) = shop.run("check", "--json").json["warnings"]
    assert unheard.startswith("nothing takes the events of billing")
    assert "${env:BILLING_WEBHOOK_SECRET} is not set" in missing


def test_a_secret_that_is_ours_to_make(shop: Shell, tmp_path: Path) -> None:
    """For GitHub a secret is made, shown once and kept in secrets.env; check misses nothing but someone who takes its events."""
    done = shop.run("source", "add", "code", "--type", "webhook", "--preset", "github", "--json").json
    assert 256 == len(bytes.fromhex(done["secret"])) * 8
    assert f"CODE_WEBHOOK_SECRET={done['secret']}\n" == (tmp_path / ".headrace" / "secrets.env").read_text()
    (unheard,) = shop.run("check", "--json").json["warnings"]
    assert unheard.startswith("nothing takes the events of code")


def test_a_secret_that_is_set_already_is_kept(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is made beside it, and it is not shown."""
    monkeypatch.setenv("FORMS_WEBHOOK_SECRET", "from-the-environment")
    out = shop.run("source", "add", "forms", "--type", "webhook").out
    assert "which is set already" in out
    assert "from-the-environment" not in out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("--type", "webhook", "--preset", "strip"), "there is no preset strip", "did you mean stripe?"),
        (("--type", "webhok"), "there is no type webhok of source", "did you mean webhook?"),
        (("--preset", "stripe"), "--preset is for webhooks", "add --type webhook"),
    ],
)
def test_a_mistake(shop: Shell, tmp_path: Path, arguments: tuple[str, ...], message: str, hint: str) -> None:
    """It is named, and the file stays as it was."""
    before = (tmp_path / "workspace.yaml").read_text()
    done = shop.run("source", "add", "billing", *arguments)
    assert 2 == done.status
    assert message in done.err
    assert hint in done.err
    assert before == (tmp_path / "workspace.yaml").read_text()
