"""Who sent a delivery is proved over its bytes, or it is refused."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.webhook.signature import NO_SIGNATURE, NO_TIME, TOO_NEW, TOO_OLD, WRONG_SIGNATURE, signing_key, time_of, unproved
from pipeline.model.workspace import Signature
from pipeline.sources import read_preset

STRIPE = read_preset("stripe").signature
NOW = 1_767_225_600_000
SECOND = NOW // 1000


def v1(secret: str, at: int, body: bytes) -> str:
    """Sign as Stripe does."""
    return "v1=" + hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()


def test_githubs_own_example() -> None:
    """The example of GitHub's page on validating deliveries is proved."""
    headers = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    assert unproved(read_preset("github").signature, [b"It's a Secret to Everybody"], headers, b"Hello, World!", NOW) is None


def test_the_example_of_standard_webhooks() -> None:
    """The example of the Standard Webhooks specification is proved."""
    scheme = read_preset("generic").signature
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,x",
    }
    keys = [signing_key(scheme, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    assert unproved(scheme, keys, headers, b'{"test": 2432232314}', 1_614_265_330_000) is None


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("", NO_SIGNATURE),
        (f"t={SECOND}", NO_SIGNATURE),
        (f"t={SECOND},v1=", NO_SIGNATURE),
        (f"t={SECOND},v0={v1('s', SECOND, b'{}')[3:]}", NO_SIGNATURE),
        (v1("s", SECOND, b"{}"), NO_TIME),
        (f"t={SECOND},v1=00", WRONG_SIGNATURE),
        (f"t={SECOND},v1=é", WRONG_SIGNATURE),
        (f"t={SECOND + 1},{v1('s', SECOND, b'{}')}", WRONG_SIGNATURE),
        (f"t={SECOND},{v1('other', SECOND, b'{}')}", WRONG_SIGNATURE),
        (f"t={SECOND},{v1('s', SECOND, b'{ }')}", WRONG_SIGNATURE),
        (f"t={SECOND},{v1('s', SECOND, b'{}').upper().replace('V', 'v')}", WRONG_SIGNATURE),
        (f"t={SECOND - 301},{v1('s', SECOND - 301, b'{}')}", TOO_OLD),
        (f"t={SECOND + 301},{v1('s', SECOND + 301, b'{}')}", TOO_NEW),
        (f"t={SECOND},{v1('s', SECOND, b'{}')}", None),
        (f"t={SECOND - 300}, {v1('s', SECOND - 300, b'{}')}", None),
    ],
)
def test_a_header(header: str, fault: object) -> None:
    """Each way to be wrong has its fault, and what is right has none."""
    assert fault == unproved(STRIPE, [b"s"], {"stripe-signature": header}, b"{}", NOW)


def test_rotation_on_both_sides() -> None:
    """While secrets change, the sender signs with both or we know both; either is enough."""
    both = {"stripe-signature": f"t={SECOND},{v1('old', SECOND, b'{}')},{v1('new', SECOND, b'{}')}"}
    assert unproved(STRIPE, [b"new"], both, b"{}", NOW) is None
    one = {"stripe-signature": f"t={SECOND},{v1('old', SECOND, b'{}')}"}
    assert unproved(STRIPE, [b"new", b"old"], one, b"{}", NOW) is None
    assert WRONG_SIGNATURE == unproved(STRIPE, [b"new"], one, b"{}", NOW)


def test_every_signature_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparing goes through `hmac.compare_digest` only and does not end at the first that fits."""
    pairs: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(expected: bytes, sent: bytes) -> bool:
        pairs.append((expected, sent))
        return compare(expected, sent)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    header = {"stripe-signature": f"t={SECOND},{v1('a', SECOND, b'{}')},v1=00"}
    assert unproved(STRIPE, [b"a", b"b"], header, b"{}", NOW) is None
    assert 4 == len(pairs)


def test_a_flood_of_signatures_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand signatures sixteen are looked at."""
    seen: list[bytes] = []

    def watched(_expected: bytes, sent: bytes) -> bool:
        seen.append(sent)
        return False

    monkeypatch.setattr(hmac, "compare_digest", watched)
    unproved(STRIPE, [b"a"], {"stripe-signature": f"t={SECOND}" + ",v1=00" * 1000}, b"{}", NOW)
    assert 16 == len(seen)


@given(body=st.binary(max_size=64), other=st.binary(max_size=64))
def test_only_the_same_bytes_are_proved(body: bytes, other: bytes) -> None:
    """A signature proves the body that it was made of, and no other."""
    header = {"stripe-signature": f"t={SECOND},{v1('s', SECOND, body)}"}
    assert (unproved(STRIPE, [b"s"], header, other, NOW) is None) == (body == other)


@given(value=st.text(max_size=60), stamp=st.text(max_size=40))
def test_no_header_is_too_odd(value: str, stamp: str) -> None:
    """Whatever a stranger writes into the headers is a fault, never an exception."""
    scheme = Signature("s", "{timestamp}{header:x}{body}", separator=",", timestamp_header="t", prefix="")
    assert unproved(scheme, [b"k"], {"s": value, "t": stamp, "x": value}, b"{}", NOW) is not None


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        (1_767_225_600, datetime(2026, 1, 1, tzinfo=UTC)),
        (1_767_225_600_250, datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
        ("1767225600", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("9" * 40, None),
        (1e300, None),
        (float("nan"), None),
    ],
)
def test_a_time(stamp: str | float, at: datetime | None) -> None:
    """Unix time and ISO 8601 are read, all else is no time."""
    assert at == time_of(stamp)
