"""What an answer means, row by row of the shared table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.deliver.retry_after import MOST_MS, parse_retry_after
from pipeline.deliver.verdicts import MISSING_SECRET, Delivered, Disable, Park, Retry, classify
from pipeline.model.outcomes import Dead

NOW = 1_445_412_480_000  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207, 299])
def test_2xx_is_delivered(status: int) -> None:
    """Every 2xx ends the request well."""
    assert Delivered() == classify(status, {}, "", NOW)


@pytest.mark.parametrize("status", [408, 423, 429])
def test_busy_is_retried(status: int) -> None:
    """A busy tool is tried again and does not count as broken."""
    assert Retry(0, broken=False) == classify(status, {}, "", NOW)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 511, 529, 598, 599, 600])
def test_5xx_is_retried(status: int) -> None:
    """A failing tool is tried again and counts as broken."""
    assert Retry(0, broken=True) == classify(status, {}, "", NOW)


@pytest.mark.parametrize("error", ["timeout", "connection_refused", "dns", "tls", "answer_not_http"])
def test_network_errors_are_retried(error: str) -> None:
    """No answer at all is tried again."""
    assert Retry(0, broken=True) == classify(0, {}, error, NOW)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 407, 409, 413, 422, 431, 451, 501])
def test_other_4xx_and_501_are_rejected(status: int) -> None:
    """What the tool refuses for good is dead, with the status as detail."""
    assert Dead("rejected", f"status {status}") == classify(status, {"retry-after": "5"}, "", NOW)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirects_are_never_followed(status: int) -> None:
    """A redirect is dead."""
    assert Dead("redirected", f"status {status}") == classify(status, {"location": "http://127.0.0.1/"}, "", NOW)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_park(status: int) -> None:
    """Refused credentials end no event: the destination is parked."""
    assert Park("unauthorized") == classify(status, {}, "", NOW)


def test_gone_disables() -> None:
    """410 stops everything and keeps the backlog."""
    assert Disable("gone") == classify(410, {}, "", NOW)


@pytest.mark.parametrize("error", [MISSING_SECRET, "invalid_request", "address_blocked"])
def test_our_own_fault_parks(error: str) -> None:
    """A missing secret, a request that cannot be sent and an address that may not be reached end no event."""
    assert Park("misconfigured") == classify(0, {}, error, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("7", 7_000),
        (" 120 ", 120_000),
        ("3600", MOST_MS),
        ("315360000", MOST_MS),
        ("9" * 5000, MOST_MS),
        ("Wed, 21 Oct 2015 07:29:30 GMT", 90_000),
        ("Wed, 21 Oct 2025 07:28:00 GMT", MOST_MS),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("-5", 0),
        ("1.5", 0),
        ("", 0),
        ("soon", 0),
        ("٣", 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after(text: str, expected: int) -> None:
    """Seconds and dates are honoured up to an hour; the past and junk count as nothing."""
    assert expected == parse_retry_after(text, NOW)


@given(st.text(), st.integers(0, 2**42))
def test_retry_after_is_bounded_for_any_text(text: str, now: int) -> None:
    """No text makes a wait that is negative or longer than an hour, and none raises."""
    assert 0 <= parse_retry_after(text, now) <= MOST_MS


def test_retry_after_reaches_the_verdict() -> None:
    """The tool's wait stands in the verdict, for 429 and for 503."""
    assert Retry(30_000, broken=False) == classify(429, {"retry-after": "30"}, "", NOW)
    assert Retry(30_000, broken=True) == classify(503, {"retry-after": "30"}, "", NOW)


@given(st.integers(100, 999), st.dictionaries(st.sampled_from(["retry-after", "location"]), st.text()))
def test_only_2xx_delivers(status: int, headers: dict[str, str]) -> None:
    """Whatever the headers say, only 2xx means delivered."""
    assert (200 <= status < 300) == isinstance(classify(status, headers, "", NOW), Delivered)
