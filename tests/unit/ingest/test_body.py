"""Bodies as they come: packed, broken, too large, and JSON that is almost JSON."""

import gzip
import tracemalloc

import pytest

from pipeline.ingest import refusals
from pipeline.ingest.body import plain
from pipeline.model import limits
from tests.unit.ingest.requests_of_sdks import WEB, event, post, refusal

PAGE = b'{"userId":"u"}'


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_unpacks_gzip(encoding: str) -> None:
    """A packed body is the same event."""
    assert event(post("/v1/page", gzip.compress(PAGE), {**WEB, "content-encoding": encoding}))["userId"] == "u"


def test_unpacks_several_members() -> None:
    """A gzip stream may be several, one after the other."""
    packed = gzip.compress(PAGE[:5]) + gzip.compress(PAGE[5:])
    assert plain(packed, "gzip") == PAGE


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PAGE, "gzip"),
        (b"", "gzip"),
        (gzip.compress(PAGE)[:-1], "gzip"),
        (gzip.compress(PAGE) + b"x", "gzip"),
        (gzip.compress(b"") * 100, "gzip"),
        (gzip.compress(PAGE), "br"),
        (gzip.compress(PAGE), None),
        (b"", None),
        (b"{", None),
        (b'{"userId":"\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"a":12345678901234567890,"b":"\\ud800"' + b',"c":[' * 600 + b"]" * 600 + b"}", None),
    ],
)
def test_broken_bodies_are_invalid_json(body: bytes, encoding: str | None) -> None:
    """Broken gzip, broken JSON and unknown encodings are 400, which no SDK but Go's sends again."""
    headers = WEB if encoding is None else {**WEB, "content-encoding": encoding}
    assert refusal(post("/v1/page", body, headers)) == (400, "invalid_json")


def test_the_limit_is_on_the_unpacked_size() -> None:
    """8 MiB are taken, a byte more is 413, packed or not."""
    most = b" " * limits.REQUEST_BYTES
    assert most == plain(most, None)
    assert most == plain(gzip.compress(most, 0), "gzip")
    assert plain(most + b" ", None) == refusals.TOO_LARGE
    assert plain(gzip.compress(most + b" ", 0), "gzip") == refusals.TOO_LARGE


def test_beyond_a_mebibyte_a_stream_unpacks_to_a_hundred_times_its_size_at_most() -> None:
    """8 kB that unpack to 8 MiB of JSON would cost a second of the collector; what events come to in earnest is far from it."""
    free = b" " * 1024 * 1024
    assert free == plain(gzip.compress(free), "gzip")
    assert plain(gzip.compress(free + b" "), "gzip") == refusals.TOO_DENSE
    packed = gzip.compress(free * 2)
    enough = packed + gzip.compress(b"".join(b"%d" % number for number in range(8_000)), 0)
    assert len(enough) > 20_972
    assert isinstance(plain(enough, "gzip"), bytes)


def test_a_bomb_is_not_unpacked() -> None:
    """A body of 200 KB that would unpack to 200 MB costs little more than the limit."""
    bomb = gzip.compress(bytes(200_000_000), 1)
    tracemalloc.start()
    try:
        assert plain(bomb, "gzip") == refusals.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 4 * limits.REQUEST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json;charset=UTF-8", "image/gif", ""])
def test_the_content_type_says_nothing(content_type: str) -> None:
    """Every real client's JSON is read, whatever it calls it."""
    assert event(post("/v1/page", PAGE, {**WEB, "content-type": content_type}))["userId"] == "u"
