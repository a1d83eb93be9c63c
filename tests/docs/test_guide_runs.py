"""Runs every command block of README.md and docs/guide against one local run, in order, as a reader would."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, prints

pytestmark = pytest.mark.integration

START_SECONDS = 120.0
BLOCK_SECONDS = 60.0
SHOWN_SECONDS = 30.0
"""How long a command may take to print what its page says: events reach the lake and the tools within seconds, not at once."""
TOOLS = ("kcat",)
CHROMIUM = shutil.which("chromium")

_WRAPPED = """\
set -euo pipefail
if [ -f "$DOCS_STATE" ]; then . "$DOCS_STATE"; fi
{text}
export -p > "$DOCS_STATE"
"""


class Run(NamedTuple):
    """A local run: the folder in which it was started, and the collector's port."""

    folder: Path
    port: int


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`headrace up` in an empty folder, ready."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    started = Run(folder, port)
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen([sys.executable, "-m", "pipeline.app.cli", "up"], cwd=folder, env=_environment(started), stdout=log, stderr=log)
        try:
            _wait(up, started)
            yield started
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(timeout=60)


def _wait(up: subprocess.Popen[bytes], run: Run) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert up.poll() is None, (run.folder / "up.log").read_text(encoding="utf-8")
        try:
            with urlopen(f"http://127.0.0.1:{run.port}/health/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.3)
    pytest.fail((run.folder / "up.log").read_text(encoding="utf-8"))


def _environment(run: Run) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}"
    return {**mine, "PATH": path, "PYTHONPATH": str(ROOT), "HEADRACE_PORT": str(run.port), "NO_PROXY": "127.0.0.1", "TERM": "dumb"}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_command_of_the_page_works(page: Path, run: Run) -> None:
    """Each block ends with 0 and, in time, prints what the page says that it prints."""
    blocks = [block for block in blocks_of(page) if not block.not_run]
    state = run.folder / f"{page.stem}.state"
    for block, after in zip_longest(blocks, blocks[1:]):
        if block.language == "html" and CHROMIUM:
            _open(block, run, state)
        if block.language not in ("bash", "python") or _lacks_a_tool(block):
            continue
        expected = after.text if after is not None and (after.language, after.title) == ("text", "prints") else ""
        _check(block, expected.replace("7070", str(run.port)), run, state)


def _lacks_a_tool(block: Block) -> bool:
    return any(tool in block.text and shutil.which(tool) is None for tool in TOOLS)


def _open(block: Block, run: Run, state: Path) -> None:
    """Open the page in Chromium from another origin; the event that it sends is in the lake then."""
    site = run.folder / "site"
    site.mkdir(exist_ok=True)
    (site / "index.html").write_text(f"<!doctype html><title>A page</title>{block.text.replace('7070', str(run.port))}", encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={run.folder / 'chromium'}", "--virtual-time-budget=5000"]
        subprocess.run([str(CHROMIUM), *flags, "--dump-dom", address], check=True, capture_output=True, timeout=BLOCK_SECONDS)
        server.shutdown()
    query = f"headrace query \"select event_text, context_page_title from tracks where context_page_url = '{address}'\"\n"  # noqa: S608 (our own address)
    _check(block._replace(language="bash", text=query), "Newsletter Joined A page", run, state)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the signature of the standard library)
        """Say nothing."""


def _check(block: Block, expected: str, run: Run, state: Path) -> None:
    end = time.monotonic() + SHOWN_SECONDS
    while True:
        done = _execute(block, run, state)
        if done.returncode == 0 and prints(expected, done.stdout):
            return
        # Only what reads is tried again: it comes in a block of its own, with what it prints.
        if not expected or time.monotonic() > end:
            pytest.fail(f"{block.place} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        time.sleep(0.5)


def _execute(block: Block, run: Run, state: Path) -> subprocess.CompletedProcess[str]:
    text = block.text.replace("7070", str(run.port))
    if block.language == "python":
        (run.folder / "block.py").write_text(text, encoding="utf-8")
        text = "python block.py"
    command = ["bash", "-c", _WRAPPED.format(text=text)]
    environment = {**_environment(run), "DOCS_STATE": str(state)}
    return subprocess.run(command, cwd=run.folder, env=environment, check=False, capture_output=True, text=True, timeout=BLOCK_SECONDS)
