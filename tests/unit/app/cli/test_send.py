"""`headrace send` against a collector that writes down what it gets."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import orjson
import pytest

from tests.unit.app.cli.commands import Shell


class Collector(HTTPServer):
    """Answers every request with one status, and keeps path, authorization and body."""

    status = 200
    answer = b'{"success":true}'

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.path, self.headers["authorization"], body))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's signature)
        """Say nothing."""


@pytest.fixture
def collector(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector at the port that the environment names."""
    with Collector() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HEADRACE_PORT", str(server.server_port))
        yield server
        server.shutdown()
        thread.join()


def test_an_event_is_sent_as_an_sdk_would(shell: Shell, collector: Collector) -> None:
    """Path, Basic write key and body; without a workspace the demo's key; the message id is told."""
    done = shell.run("send", "track", "--user", "u1", "--event", "Order Completed", "--properties", '{"total": 42}', "--json")
    assert done.status == 0
    assert done.json["stored"] is True
    expected = {"userId": "u1", "event": "Order Completed", "properties": {"total": 42}, "messageId": done.json["message_id"]}
    assert collector.requests == [("/v1/track", "Basic ZGVtbzo=", expected)]


def test_a_source_of_the_workspace_lends_its_key(shell: Shell, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first source with a key, or the one that is named; its reference is resolved here."""
    shell.run("init")
    assert "no source has a write key" in shell.run("send", "page", "--anonymous", "a").err
    monkeypatch.setenv("WEB_WRITE_KEY", "web-key-1")
    shell.run("source", "add", "web")
    assert shell.run("send", "page", "--anonymous", "a", "--name", "Home", "--source", "web").status == 0
    assert collector.requests[0][1] == "Basic d2ViLWtleS0xOg=="
    assert "did you mean web?" in shell.run("send", "page", "--anonymous", "a", "--source", "wbe").err


def test_a_refusal_is_an_error_with_the_answer(shell: Shell, collector: Collector) -> None:
    """Status and answer are told, with a remedy where one is known; a script gets them as JSON and exit status 1."""
    collector.status = 401
    collector.answer = b'{"success":false}'
    done = shell.run("send", "track", "--user", "u")
    assert (done.status, done.out) == (1, "")
    assert 'error: the collector answered 401: {"success":false}' in done.err
    assert "headrace apply" in done.err
    collector.answer = b'{"success":false,"code":"invalid_write_key","message":"No known write key."}'
    assert "error: the collector answered 401: No known write key. (invalid_write_key)" in shell.run("send", "track", "--user", "u").err
    collector.answer = b"busy"
    found = shell.run("send", "track", "--user", "u", "--json")
    assert (found.status, found.json["stored"], found.json["answer"]) == (1, False, "busy")


def test_a_collector_that_is_not_there_is_said_so(shell: Shell) -> None:
    """Nobody listens: one line, and how to start it."""
    done = shell.run("send", "track", "--user", "u", "--url", "http://127.0.0.1:1")
    assert done.status == 1
    assert "does not answer" in done.err
    assert "headrace up" in done.err
