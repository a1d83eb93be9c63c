"""A tool that outlives its own kills: it writes each accepted request down before it answers.

Run as `python -m tests.faults.receiver PORT FOLDER`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from pipeline.app.receiver import Faults, Receipts, Receiver, serve_receiver
from pipeline.runtime.clock import SystemClock
from tests.acceptance.installation import request

TOOLS = ("crm", "orders")
SECRET = "of the fault tests"
START_SECONDS = 60


class WrittenReceipts(Receipts):
    """Receipts in a file.

    Args:
        path: The file; one id a line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("ab", buffering=0)

    def accept(self, identifier: str, body: bytes, at_ms: int) -> None:
        """Write the request down, whether or not it was here before."""
        del body, at_ms
        self._file.write(f"{identifier}\n".encode())


class ReceiverProcess:
    """The tool as a process, to be killed.

    Args:
        port: Its port.
        folder: Where it writes.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.receiver", str(self.port), str(self._folder)])
        end = time.monotonic() + START_SECONDS
        while request(self.port, "GET", "/health").status != 200:
            assert time.monotonic() < end, "the receiver does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def accepted(self, tool: str) -> Counter[str]:
        """Count the accepted requests of a tool by their id."""
        path = self._folder / tool
        return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def main(port: int, folder: Path) -> None:
    """Answer until killed."""
    receiver = Receiver(SECRET, clock=SystemClock(), faults=Faults(retry_after_seconds=1))
    receiver.receipts = {f"/{tool}": WrittenReceipts(folder / tool) for tool in TOOLS}
    asyncio.run(serve_receiver(receiver, port=port, stop=asyncio.Event()))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
