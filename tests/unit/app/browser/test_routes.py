"""Which document whom, how long it is kept, and what an unknown key gets."""

import gzip
from base64 import b64encode
from pathlib import Path

import orjson
import pytest

from pipeline.app.collector.routes import Reply
from tests.unit.app.browser.asked import KEYS, get, library, put_library

BASIC = {key: f"Basic {b64encode(f'{key}:'.encode()).decode()}" for key in (*KEYS, "nobody")}


def said(reply: Reply) -> str:
    """Read the code in a script's comment."""
    assert "text/javascript; charset=utf-8" == reply.content_type
    assert reply.body.startswith(b"// ")
    assert 1 == reply.body.count(b"\n")
    return reply.body.decode().removeprefix("// ").partition(":")[0]


@pytest.mark.parametrize("path", ["/v1/projects/key-1/settings", "/v1/projects/key-1/settings/"])
async def test_settings(path: str, tmp_path: Path) -> None:
    """The document of the key, for the address that was asked, for every site and for a minute."""
    reply = await get(path, library(tmp_path), x_forwarded_proto="https")
    own = orjson.loads(reply.body)["integrations"]["Segment.io"]
    assert (200, "key-1", "cdp.example.com/v1", "https") == (reply.status, own["apiKey"], own["apiHost"], own["protocol"])
    headers = dict(reply.headers)
    assert ("*", "public, max-age=60") == (headers["access-control-allow-origin"], headers["cache-control"])
    assert "X-Forwarded-Proto" in headers["vary"]


@pytest.mark.parametrize("path", ["/v1/projects/a/b/settings", "/v1/projects/a%2Fb/settings"])
async def test_a_key_with_a_slash(path: str, tmp_path: Path) -> None:
    """A write key may hold a slash, which the library does not escape."""
    assert "a/b" == orjson.loads((await get(path, library(tmp_path))).body)["integrations"]["Segment.io"]["apiKey"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/projects/nobody/settings", 404, "not_found"),
        ("/v1/projects/key-2/settings", 404, "source_disabled"),
        ("/v1/projects/key-1", 404, "not_found"),
        ("/analytics.js/v1/nobody/analytics.min.js", 404, "not_found"),
        ("/analytics.js/v1/key-2/analytics.min.js", 404, "source_disabled"),
        ("/analytics.js/v1/key-1/other.js", 404, "not_found"),
        ("/analytics-next/bundles/missing.js", 404, "not_found"),
        ("/analytics-next/bundles/../standalone.js", 404, "not_found"),
        ("/sourceConfig", 400, "invalid_write_key"),
    ],
)
async def test_refusals(path: str, status: int, code: str, tmp_path: Path) -> None:
    """What asked can read it, JSON or a script's comment, and nothing keeps it."""
    reply = await get(path, put_library(tmp_path))
    assert (status, code) == (reply.status, orjson.loads(reply.body)["code"] if reply.content_type.startswith("application/json") else said(reply))
    assert {"access-control-allow-origin": "*", "cache-control": "no-store"}.items() <= dict(reply.headers).items()


async def test_a_request_without_a_host(tmp_path: Path) -> None:
    """What could not be sent back to is refused, not made up."""
    assert 400 == (await get("/v1/projects/key-1/settings", library(tmp_path), host="a b")).status


async def test_what_the_client_has_is_not_sent_again(tmp_path: Path) -> None:
    """The same tag gives 304 without a body."""
    first = await get("/v1/projects/key-1/settings", library(tmp_path))
    again = await get("/v1/projects/key-1/settings", library(tmp_path), if_none_match=dict(first.headers)["etag"])
    assert (304, b"") == (again.status, again.body)


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
async def test_source_config(path: str, tmp_path: Path) -> None:
    """With the key as Basic user; a disabled source is told so and no cache shares the answer."""
    reply = await get(path, library(tmp_path), authorization=BASIC["key-2"])
    assert (200, False, "shop") == (reply.status, (source := orjson.loads(reply.body)["source"])["enabled"], source["workspaceId"])
    assert "private, max-age=60" == dict(reply.headers)["cache-control"]
    assert b"Invalid write key" in (await get(path, library(tmp_path), authorization=BASIC["nobody"])).body


async def test_a_browser_may_ask_with_authorization(tmp_path: Path) -> None:
    """The preflight of RudderStack's library is allowed without credentials."""
    reply = await get(
        "/sourceConfig/", library(tmp_path), method="OPTIONS", origin="https://shop.example", access_control_request_headers="authorization"
    )
    assert (204, "authorization") == (reply.status, dict(reply.headers)["access-control-allow-headers"])


@pytest.mark.parametrize("file", ["analytics.min.js", "platform/analytics.min.js", "analytics.js"])
async def test_the_library_knows_its_key_and_its_host(file: str, tmp_path: Path) -> None:
    """No host but ours is left in it."""
    reply = await get(f"/analytics.js/v1/key-1/{file}", put_library(tmp_path))
    assert b'"http://cdp.example.com" "cdp.example.com/v1" key-1' == reply.body.strip()
    assert "text/javascript; charset=utf-8" == reply.content_type


async def test_a_large_answer_is_packed(tmp_path: Path) -> None:
    """For a client that takes it; the text is the same."""
    plain = await get("/analytics.js/v1/key-1/analytics.min.js", put_library(tmp_path))
    packed = await get("/analytics.js/v1/key-1/analytics.min.js", library(tmp_path), accept_encoding="gzip, br")
    assert "gzip" == dict(packed.headers)["content-encoding"]
    assert plain.body == gzip.decompress(packed.body)


async def test_chunks_are_kept_for_ever(tmp_path: Path) -> None:
    """Their names change with them."""
    reply = await get("/analytics-next/bundles/queryString.bundle.1.js", put_library(tmp_path))
    assert (b"chunk", "public, max-age=31536000, immutable") == (reply.body, dict(reply.headers)["cache-control"])


async def test_without_npm_the_answer_says_what_to_do(tmp_path: Path) -> None:
    """The page's script fails; who looks reads the remedy."""
    reply = await get("/analytics.js/v1/key-1/analytics.min.js", library(tmp_path))
    assert 503 == reply.status
    assert "library_missing" == said(reply)
    assert b"npm is not here: install Node.js" in reply.body
