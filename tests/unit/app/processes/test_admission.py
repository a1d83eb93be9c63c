"""What a workspace lets in, once its references are resolved."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.app.processes.admission import Admission
from pipeline.ingest.write_keys import Holder, fingerprint_of
from pipeline.model.workspace import OAuth, Source, Workspace
from pipeline.testing.outside import resolver

PEM = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def admission(**secrets: str) -> Admission:
    """Make one with secrets."""
    return Admission(lambda text: resolver(secrets, text))


def test_keys_and_clients_are_those_of_the_workspace() -> None:
    """Enabled and disabled keys; a missing secret leaves its key out and no other."""
    source = Source("web", ("${env:ONE}", "${env:TWO}", "${env:GONE}"), disabled_keys=("${env:ONE}",), oauth=OAuth("shop", {"k": "${env:PEM}"}))
    made = admission(ONE="one-key", TWO="two-key", PEM=PEM)
    made.take(Workspace("shop", sources={"web": source}))
    assert made.shown == {"two-key": "web"}
    assert made.keys.of("one-key") == Holder("web", fingerprint_of("one-key"), enabled=False)
    assert (made.clients["shop"].source, list(made.clients["shop"].keys)) == ("web", ["k"])


def test_a_bad_public_key_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The log names it without showing it, and the client's other key works."""
    made = admission(PEM=PEM)
    made.take(Workspace("shop", sources={"web": Source("web", oauth=OAuth("shop", {"bad": "no-key-at-all", "good": "${env:PEM}"}))}))
    assert list(made.clients["shop"].keys) == ["good"]
    assert "public key bad of source web" in caplog.text
    assert "no-key-at-all" not in caplog.text


def test_the_token_secret_is_declared_or_of_this_process() -> None:
    """A short one is refused, for whoever guesses it makes tokens of his own."""
    assert admission(HEADRACE_TOKEN_SECRET="s" * 32).token_secret() == b"s" * 32
    assert admission().token_secret() != admission().token_secret()
    with pytest.raises(ValueError, match="HEADRACE_TOKEN_SECRET is too short"):
        admission(HEADRACE_TOKEN_SECRET="short").token_secret()


def test_a_webhook_source_and_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """A secret that is not set, or cannot be read, is left out and told once; when all are there, the source is compiled once."""
    source = Source("hook", type="webhook", secrets=("${env:ONE}", "${env:TWO}"))
    secrets = {"ONE": "whsec_no base64"}
    made = Admission(lambda text: resolver(secrets, text))
    made.take(Workspace("shop", sources={"hook": source, "web": Source("web")}))
    assert [(), ()] == [found.keys for _ in range(2) if (found := made.hook("hook")) is not None]
    assert 2 == caplog.text.count("A secret of the webhook source hook is left out")
    assert "no base64" not in caplog.text
    secrets.update(ONE="whsec_AAAA", TWO="text")
    found = made.hook("hook")
    assert found is not None
    assert (b"\x00\x00\x00", b"text") == found.keys
    assert found is made.hook("hook")
    assert (None, ("hook",)) == (made.hook("web"), made.webhooks)
