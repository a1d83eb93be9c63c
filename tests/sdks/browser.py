"""Runs the program of a browser SDK in Chromium, in a page on a server of its own, so that the collector is another origin.

python browser.py SDK_FILE PROGRAM HOST WRITE_KEY CALLS PAUSE_MS [MODE]

Stays on the page until its standard input ends, as a person does; then leaves it. Prints what the page logs that begins with `gave up`.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import orjson
from playwright.sync_api import ConsoleMessage, sync_playwright

CHROMIUM: Final = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
LONGEST_STAY: Final = 240
"""Seconds after which a page is left anyway."""
_PAGE: Final = b"""<!doctype html><meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,">
<script src="/sdk.js"></script><script type="module" src="/send.js"></script>"""


def chromium() -> str | None:
    """Give the path of the system's Chromium, or None."""
    return next((path for path in CHROMIUM if Path(path).exists()), None)


def serve(files: dict[str, tuple[str, bytes]]) -> ThreadingHTTPServer:
    """Serve files on a free port, from a thread.

    Args:
        files: Content type and bytes by path.

    Returns:
        The server.
    """

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content_type, body = files.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in files else 404)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def said(message: ConsoleMessage) -> None:
    """Pass on what the page logs."""
    print(message.text, file=sys.stdout if message.text.startswith("gave up") else sys.stderr, flush=True)


def main() -> None:
    """Stay on the page until the standard input ends."""
    sdk, program, host, write_key, calls, pause, *mode = sys.argv[1:]
    server = serve(
        {
            "/": ("text/html", _PAGE),
            "/sdk.js": ("text/javascript", Path(sdk).read_bytes()),
            "/send.js": ("text/javascript", Path(program).read_bytes()),
            "/calls": ("text/plain; charset=utf-8", Path(calls).read_bytes()),
            "/settings.json": (
                "application/json",
                orjson.dumps({"host": host, "writeKey": write_key, "pause": int(pause), "mode": mode[0] if mode else ""}),
            ),
        }
    )
    reader = threading.Thread(target=sys.stdin.read, daemon=True)
    reader.start()
    with tempfile.TemporaryDirectory(prefix="headrace-chromium-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium(), args=list(ARGUMENTS), headless=True)
        page = context.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: print(error, file=sys.stderr, flush=True))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        for _ in range(LONGEST_STAY * 5):
            if not reader.is_alive():
                break
            page.wait_for_timeout(200)
        page.goto("about:blank")
        page.wait_for_timeout(1000)
        context.close()
    server.shutdown()


if __name__ == "__main__":
    main()
