"""Whose a write key is, by its digest; disabled keys open nothing and are still known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import Accepted, Refused
from pipeline.ingest.write_keys import Holder, WriteKeys, fingerprint_of, first
from tests.unit.ingest.requests_of_sdks import basic, post

PAGE = {"type": "page", "userId": "u"}
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40)


@given(st.dictionaries(NAMES, NAMES, max_size=8), NAMES)
def test_a_key_opens_its_own_source_only(keys: dict[str, str], other: str) -> None:
    """In a header or elsewhere, a key names its source, and any other text names none."""
    found = WriteKeys(keys)
    for key, source in keys.items():
        assert found.of(key) == found.of_header(basic(f"{key}:")) == Holder(source, fingerprint_of(key))
    if other not in keys:
        assert found.of(other) is None
        assert found.of_header(basic(f"{other}:")) is None


@pytest.mark.parametrize("header", [basic("k:"), basic("k"), basic("k:pass"), basic("k:").replace("Basic", "basic"), basic("k:").rstrip("=")])
def test_every_spelling_of_basic_is_read(header: str) -> None:
    """The one that SDKs send is looked up as it is, the others are decoded first."""
    holder = WriteKeys({"k": "web"}).of_header(header)
    assert holder is not None
    assert holder.source == "web"


@pytest.mark.parametrize("candidate", [None, 5, ["k"], {"a": 1}, "", "unknown", "\ud83d"])
def test_what_is_no_known_key_has_no_holder(candidate: object) -> None:
    """A write key in a body may be any JSON value."""
    assert WriteKeys({"k": "web"}).of(candidate) is None


def test_two_keys_of_a_source_work_side_by_side() -> None:
    """While clients move from one to the other, both open it."""
    keys = WriteKeys({"old": "web", "new": "web"})
    assert [getattr(keys.of(key), "source", "") for key in ("old", "new")] == ["web", "web"]


def test_the_first_enabled_key_counts() -> None:
    """A disabled one stands back for any that is enabled, and is told where there is no other."""
    worn, good = Holder("web", "1", enabled=False), Holder("app", "2")
    assert first(None, worn, good) == good
    assert first(worn, None) == worn
    assert first(None) is None


def test_a_disabled_key_is_refused_like_an_unknown_one() -> None:
    """Status, code and message are those of any guess; only our own counts know better (T60)."""
    worn, unknown = (post("/v1/page", PAGE, {"authorization": basic(f"{key}:")}) for key in ("worn-key", "no-key"))
    assert isinstance(worn, Refused)
    assert isinstance(unknown, Refused)
    assert worn[:4] == unknown[:4]
    assert (worn.source, worn.key) == ("web", fingerprint_of("worn-key"))


def test_a_request_says_whose_key_it_was() -> None:
    """By its fingerprint, from which nobody gets the key."""
    verdict = post("/v1/page", PAGE)
    assert isinstance(verdict, Accepted)
    assert verdict.key == Holder("web", fingerprint_of("web-key"))
    assert len(fingerprint_of("web-key")) == 8


def test_the_demo_key_can_be_left_out() -> None:
    """The others stay as they are."""
    keys = WriteKeys({"demo": "web", "k": "app"}).without("demo")
    assert (keys.of("demo"), keys.of_header(basic("demo:")), keys.of("k")) == (None, None, Holder("app", fingerprint_of("k")))
