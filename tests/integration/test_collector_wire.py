"""The wire forms of the tracking API over real HTTP: who may send, how fast, and what the answer says."""

from __future__ import annotations

import asyncio
import ipaddress
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from segment.analytics.client import Client as SegmentClient

from pipeline.app.collector import Checking, Reply, RouteRequest, Routes, Stream, Tokens
from pipeline.app.processes.options import call_schemas
from pipeline.ingest.oauth import Client, public_key
from pipeline.ingest.pixel import IMAGE
from pipeline.ingest.write_keys import fingerprint_of
from pipeline.model.workspace import Source, Workspace
from tests.integration.collector_over_http import AUTHORIZATION, WORKSPACE, SteeredProducer, ask, collector, connection
from tests.unit.ingest.requests_of_sdks import form

PAGE = b'{"type":"page","userId":"u","messageId":"m"}'
BATCH = b'{"batch":[%s,{"type":"page"},%s]}' % (PAGE, b'{"type":"identify","userId":"u","messageId":"i","traits":[]}')
ORIGIN = "origin: https://shop.example"


def with_web(**fields: Any) -> Workspace:  # noqa: ANN401 (fields of a source)
    """Declare the source `web` otherwise."""
    return replace(WORKSPACE, sources={**WORKSPACE.sources, "web": replace(WORKSPACE.sources["web"], **fields)})


async def test_a_beacon_has_its_key_in_the_query() -> None:
    """As RudderStack's browser SDK leaves a page: text/plain, cookies, no Authorization."""
    producer = SteeredProducer()
    body = b'{"batch":[{"type":"page","anonymousId":"a","messageId":"m"}],"sentAt":"2026-01-01T00:00:00.000Z"}'
    async with collector(producer) as running:
        answer = await ask(running.port, "POST /beacon/v1/batch?writeKey=demo", ORIGIN, "content-type: text/plain", "cookie: rl_x=1", body=body)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    assert producer.events()[0]["sentAt"] == "2026-01-01T00:00:00.000Z"


async def test_rudderstack_s_browser_in_xhr_mode() -> None:
    """Its own headers, nulls and times; two events of one anonymous id lie under one key, which keeps them in order."""
    producer = SteeredProducer()
    kind = "content-type: application/json;charset=UTF-8"
    headers = (AUTHORIZATION, ORIGIN, kind, "anonymousid: YTE=", "sentat: 2026-01-01T00:00:01.000Z", "rsa-retry-attempt: 2")
    ids = b'"userId":"","anonymousId":"a1","messageId":"m","originalTimestamp":"2026-01-01T00:00:00.000Z"'
    body = b'{"channel":"web","type":"track","event":"E","properties":null,%s}' % ids
    async with collector(producer) as running:
        for path in ("/v1/track", "/v1/track/"):
            assert (await ask(running.port, f"POST {path}", *headers, body=body)).status == 200
    assert [output.key for output in producer.stored] == [b"a1", b"a1"]
    assert producer.events()[0]["sentAt"] == "2026-01-01T00:00:01.000Z"
    assert running.metrics.sums["headrace_ingest_retries_total", ("web", "2")] == 2


async def test_pixels_are_images_whatever_happens() -> None:
    """Good, bad, nobody's and not stored: the same image; what happened stands in raw, dead letters, metrics, or in a 503."""
    producer = SteeredProducer()
    data = b64encode(orjson.dumps({"writeKey": "demo", "userId": "u", "messageId": "m", "event": "Opened"})).decode()
    async with collector(producer) as running, connection(running.port) as mail:
        for query in (f"data={data}", "writeKey=demo&userId=u", "writeKey=nobody&userId=u&event=E", "data=a"):
            answer = await mail.ask(f"GET /v1/pixel/track?{query}", "user-agent: Mail")
            assert (answer.status, answer.body, answer.headers["content-type"], answer.headers["cache-control"]) == (
                200,
                IMAGE,
                "image/gif",
                "no-store",
            )
        assert (await mail.ask("POST /v1/pixel/track")).status == 405
        producer.broken = True
        lost = await mail.ask(f"GET /v1/pixel/track?data={data}")
        assert (lost.status, lost.body) == (503, IMAGE)
    assert [output.topic for output in producer.stored] == ["shop.raw", "shop.dead.ingest"]
    assert producer.events()[0]["context"]["userAgent"] == "Mail"
    sums = running.metrics.sums
    assert sums["headrace_ingest_refused_total", ("pixel", "invalid_write_key")] == 1
    assert sums["headrace_ingest_refused_total", ("pixel", "invalid_query")] == 1
    assert sums["headrace_ingest_refused_total", ("pixel", "unavailable")] == 1


async def test_a_key_may_stand_in_a_header_of_its_own() -> None:
    """`X-Write-Key`, for those who may not set Authorization."""
    async with collector(SteeredProducer()) as running:
        assert (await ask(running.port, "POST /v1/page", "x-write-key: demo", body=PAGE)).status == 200
        assert (await ask(running.port, "POST /v1/page", "x-write-key: guess", body=PAGE)).status == 401


async def test_head_is_get_without_its_body() -> None:
    """On every page of the port: status and headers of GET, no byte of a body, and a stream does not begin; another method is 405 with Allow."""
    began = False

    async def page(_request: RouteRequest) -> Reply:
        return Reply(200, b"ok\n", "text/plain")

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal began
        began = True
        yield b"data"

    async def stream(_request: RouteRequest) -> Stream:
        return Stream(pieces())

    routes: Routes = {("GET", "/"): page, ("GET", "/health/live"): page, ("GET", "/events"): stream}
    async with collector(SteeredProducer(), routes) as running:
        for path in (b"/", b"/health/live"):
            head, _, body = (await _head(running.port, path)).partition(b"\r\n\r\n")
            assert head.startswith(b"http/1.1 200 ")
            assert b"\r\ncontent-length: 3" in head
            assert body == b""
        head = await _head(running.port, b"/events")
        assert (head.startswith(b"http/1.1 200 "), b"text/event-stream" in head, began) == (True, True, False)
        async with connection(running.port) as client:
            answer = await client.ask("POST /health/live", ORIGIN)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
            assert (await client.ask("POST /nothing")).status == 404


async def _head(port: int, path: bytes) -> bytes:
    """Ask for a head and give all that comes, in lower case."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HEAD %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path)
    answer = await reader.read()
    writer.close()
    return answer.lower()


async def test_a_misspelt_wish_stores_nothing() -> None:
    """`acknowledge=banana` is 400 with a code, before anything is stored; a pixel's query is its event, whatever it holds."""
    producer = SteeredProducer()
    async with collector(producer) as running, connection(running.port) as client:
        answer = await client.ask("POST /v1/page?acknowledge=banana", AUTHORIZATION, body=PAGE)
        assert (answer.status, orjson.loads(answer.body)["code"]) == (400, "invalid_query")
        assert producer.stored == []
        assert (await client.ask("GET /v1/pixel/page?writeKey=demo&userId=u&results=3")).status == 200
    assert len(producer.stored) == 1


async def test_wrong_methods_name_the_right_one() -> None:
    """405 with Allow, and with CORS."""
    async with collector(SteeredProducer()) as running, connection(running.port) as client:
        for line, allowed in (("GET /v1/track", "POST, OPTIONS"), ("DELETE /v1/pixel/page", "GET, OPTIONS"), ("GET /token", "POST, OPTIONS")):
            answer = await client.ask(line, ORIGIN)
            assert (answer.status, answer.headers["allow"]) == (405, allowed)
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"


async def test_a_source_s_rate_holds_it_alone() -> None:
    """After its burst 429 with whole seconds, which pages may read; another source goes on; after the wait it goes on too."""
    producer = SteeredProducer()
    async with collector(producer, workspace=with_web(rate=1, burst=3)) as running, connection(running.port) as client:
        statuses = [(await client.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status for _ in range(3)]
        assert statuses == [200, 200, 200]
        answer = await client.ask("POST /v1/page", AUTHORIZATION, ORIGIN, body=PAGE)
        assert (answer.status, answer.headers["retry-after"], answer.headers["x-ratelimit-reset"]) == (429, "1", "1")
        assert orjson.loads(answer.body)["code"] == "rate_limited"
        assert "X-RateLimit-Reset" in answer.headers["access-control-expose-headers"]
        assert (await client.ask("POST /v1/page", "x-write-key: app-key", body=PAGE)).status == 200
        running.clock.ahead += 1.1
        assert (await client.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200
    assert len(producer.stored) == 5
    assert running.metrics.sums["headrace_ingest_events_total", ("web", "refused")] == 1


async def test_guesses_are_slowed_down_and_others_are_not() -> None:
    """An address that tries many keys gets 429 in place of 401; a known key from the same address goes through."""
    async with collector(SteeredProducer()) as running, connection(running.port) as client:
        statuses = [(await client.ask("POST /v1/page", f"x-write-key: guess-{number}", body=PAGE)).status for number in range(150)]
        assert statuses[:100] == [401] * 100
        assert statuses[-1] == 429
        assert (await client.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200


async def test_only_named_origins_send() -> None:
    """403 that the page may read; servers, which send no Origin, are not meant."""
    async with collector(SteeredProducer(), workspace=with_web(origins=("https://*.shop.example",))) as running, connection(running.port) as client:
        assert (await client.ask("POST /v1/page", AUTHORIZATION, "origin: https://www.shop.example", body=PAGE)).status == 200
        answer = await client.ask("POST /v1/page", AUTHORIZATION, "origin: https://evil.example", body=PAGE)
        assert (answer.status, orjson.loads(answer.body)["code"]) == (403, "origin_not_allowed")
        assert answer.headers["access-control-allow-origin"] == "https://evil.example"
        assert (await client.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200


async def test_keys_are_in_no_count_and_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Who still uses a disabled key is counted under its fingerprint; no key is in metrics, answers or logs (T61)."""
    async with collector(SteeredProducer(), disabled={"worn-secret-key": "web"}) as running, connection(running.port) as client:
        refused = await client.ask("POST /v1/page", "x-write-key: worn-secret-key", body=PAGE)
        unknown = await client.ask("POST /v1/page", "x-write-key: never-seen-key", body=PAGE)
        assert (refused.status, refused.body) == (unknown.status, unknown.body) == (401, unknown.body)
        assert (await client.ask("POST /v1/page", AUTHORIZATION, body=PAGE)).status == 200
    sums = running.metrics.sums
    assert sums["headrace_ingest_key_requests_total", ("web", fingerprint_of("worn-secret-key"))] == 1
    assert sums["headrace_ingest_key_requests_total", ("web", fingerprint_of("demo"))] == 1
    shown = str(sums) + caplog.text + str(refused.body)
    assert "worn-secret-key" not in shown
    assert "never-seen-key" not in shown


async def test_only_trusted_proxies_are_believed() -> None:
    """Behind one, the right-most hop that is not a proxy counts; without one the header means nothing."""
    spoofed = ("x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2, 198.51.100.7")
    for trusted, ip in (((ipaddress.ip_network("127.0.0.0/8"),), "198.51.100.7"), ((), "127.0.0.1")):
        producer = SteeredProducer()
        async with collector(producer, trusted_proxies=trusted) as running:
            assert (await ask(running.port, "POST /v1/page", AUTHORIZATION, ORIGIN, *spoofed, body=PAGE)).status == 200
        assert [event["context"]["ip"] for event in producer.events()] == [ip]


async def test_addresses_are_shortened_before_anything_is_stored() -> None:
    """Where the source says so: the connection's, the event's own, the envelope's, and in dead letters."""
    producer = SteeredProducer()
    good = b'{"type":"page","userId":"u","messageId":"1","context":{"ip":"198.51.100.7","a":1}}'
    bad = b'{"type":"boo","context":{"ip":"198.51.100.7"}}'
    batch = b'{"context":{"ip":"2001:db8:1:2:3::4"},"batch":[%s,%s,%s]}' % (good, PAGE, bad)
    async with collector(producer, workspace=with_web(anonymize_ip=True)) as running, connection(running.port) as client:
        assert (await client.ask("POST /v1/page", AUTHORIZATION, ORIGIN, body=PAGE)).status == 200
        assert (await client.ask("POST /v1/batch", AUTHORIZATION, body=batch)).status == 200
    assert [event["context"]["ip"] for event in producer.events()] == ["127.0.0.0", "198.51.100.0", "2001:db8:1::"]
    assert not any(b"198.51.100.7" in (output.value or b"") or b"::4" in (output.value or b"") for output in producer.stored)


async def test_results_say_what_became_of_each_event() -> None:
    """Only who asks gets them; validate's verdict comes before the answer with `acknowledge=validated`."""
    producer = SteeredProducer()
    async with collector(producer, checking=Checking(call_schemas())) as running, connection(running.port) as client:
        assert (await client.ask("POST /v1/batch", AUTHORIZATION, body=BATCH)).body == b'{"success":true}'
        stored = orjson.loads((await client.ask("POST /v1/batch?results=true", AUTHORIZATION, body=BATCH)).body)["results"]
        validated = orjson.loads((await client.ask("POST /v1/batch?acknowledge=validated", AUTHORIZATION, body=BATCH)).body)["results"]
        alone = await client.ask("POST /v1/identify?acknowledge=validated", AUTHORIZATION, body=b'{"userId":"u","traits":[]}')
        fine = await client.ask("POST /v1/page?acknowledge=validated", AUTHORIZATION, body=b'{"userId":"u"}')
    assert [(one["messageId"], one["status"]) for one in stored] == [("m", "stored"), ("", "dead"), ("i", "stored")]
    assert [(one["status"], one.get("code")) for one in validated] == [("stored", None), ("dead", "no_user_anon_id"), ("dead", "traits_not_object")]
    assert (alone.status, orjson.loads(alone.body)["code"]) == (400, "traits_not_object")
    assert orjson.loads(fine.body)["results"][0]["messageId"] == producer.events()[-1]["messageId"]
    letters = [dict(output.headers)["dead_reason"] for output in producer.stored if output.topic == "shop.dead.ingest"]
    assert letters == [b"no_user_anon_id"] * 2 + [b"no_user_anon_id", b"traits_not_object"]


async def test_a_body_that_never_ends_is_answered() -> None:
    """Small or large, declared or chunked: after a minute 408, and its connection is free again."""
    async with collector(SteeredProducer()) as running:
        for head in ("content-length: 100", "content-length: 500000", "transfer-encoding: chunked"):
            async with connection(running.port) as slow:
                slow.writer.write(f"POST /v1/page HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n".encode())
                asking = asyncio.create_task(slow.answer())
                while not asking.done():
                    running.clock.ahead += 10
                    await asyncio.wait((asking,), timeout=0.05)
                assert asking.result().status == 408


KEY = rsa.generate_private_key(65537, 2048)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SERVERS = Workspace("shop", version=1, sources={"server": Source("server")})


def oauth_client(port: int, errors: list[Any]) -> SegmentClient:
    """Make Segment's SDK with OAuth, pointed at the collector."""
    address = f"http://127.0.0.1:{port}"
    return SegmentClient(
        "no-key",
        host=address,
        on_error=lambda error, _items: errors.append(error),
        oauth_client_id="shop",
        oauth_client_key=PRIVATE,
        oauth_key_id="k1",
        oauth_auth_server=address,
        max_retries=3,
    )


async def test_segment_s_sdk_with_oauth() -> None:
    """It gets a token, sends with it, and where the token has become invalid it gets another one and loses nothing."""
    clients = {"shop": Client("server", {"k1": public_key(PUBLIC)})}
    tokens, producer, errors = Tokens(lambda: clients, b"s" * 32), SteeredProducer(), list[Any]()
    async with collector(producer, workspace=SERVERS, tokens=tokens) as running:

        def send() -> None:
            client = oauth_client(running.port, errors)
            client.track("u", "One", message_id="1")
            client.flush()
            tokens._secret = b"t" * 32  # as after a restart without a declared secret
            tokens._verified.clear()
            client.track("u", "Two", message_id="2")
            client.shutdown()

        await asyncio.to_thread(send)
    assert errors == []
    assert [event["messageId"] for event in producer.events()] == ["1", "2"]
    assert {dict(output.headers)["source"] for output in producer.stored} == {b"server"}
    assert running.metrics.sums["headrace_ingest_requests_total", ("batch", "511")] >= 1


async def test_an_assertion_works_once_and_tokens_of_others_do_not() -> None:
    """400 for a second use; 511 for a token that is not ours, so that an SDK asks for another one; 404 of a collector without OAuth."""
    clients = {"shop": Client("server", {"k1": public_key(PUBLIC)})}
    async with (
        collector(SteeredProducer(), workspace=SERVERS, tokens=Tokens(lambda: clients, b"s" * 32)) as running,
        connection(running.port) as client,
    ):
        now = running.clock.now_ms() // 1000
        claims = {"iss": "shop", "sub": "shop", "aud": "http://localhost", "iat": now, "exp": now + 60, "jti": "j"}
        body = form(jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "k1"}))
        first, second = [await client.ask("POST /token", body=body) for _ in range(2)]
        assert (first.status, orjson.loads(first.body)["token_type"], first.headers["cache-control"]) == (200, "Bearer", "no-store")
        assert "date" in first.headers
        assert (second.status, orjson.loads(second.body)["error"]) == (400, "invalid_request")
        bearer = f"authorization: Bearer {orjson.loads(first.body)['access_token']}"
        assert (await client.ask("POST /v1/page", bearer, body=PAGE)).status == 200
        foreign = await client.ask("POST /v1/page", bearer + "x", body=PAGE)
        assert (foreign.status, orjson.loads(foreign.body)["code"]) == (511, "invalid_token")
    async with collector(SteeredProducer()) as running:
        assert (await ask(running.port, "POST /token", body=body)).status == 404
        assert (await ask(running.port, "POST /v1/page", bearer, body=PAGE)).status == 401
