"""A load over HTTP as an SDK sends it, with a durable record of what was answered 2xx."""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import orjson

BATCH = 20
USERS = 200


class HttpLoad:
    """Sends batches until told to stop; a batch without a 2xx is sent again, as SDKs do, so nothing is left in doubt at the end.

    Args:
        port: The collector's port.
        rate: Events in a second.
        record: File that gets each acknowledged message id, on disk before the next batch is sent.
        seed: Seed of the duplicates.

    Attributes:
        events: Events by message id, as they were sent.
        answers: How many requests were answered with each status; 0 where nothing answered.
        copies: How many events were sent more than once on purpose.
    """

    def __init__(self, port: int, *, rate: float, record: Path, seed: int) -> None:
        self._port = port
        self._rate = rate
        self._record = record
        self._chance = random.Random(seed)  # noqa: S311 (test traffic, not secrets)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._connection: HTTPConnection | None = None
        self.events: dict[str, dict[str, Any]] = {}
        self.answers: Counter[int] = Counter()
        self.copies = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no new events, and wait until the last one is acknowledged."""
        self._stop.set()
        self._thread.join()

    def acknowledged(self) -> set[str]:
        """Read the record of what was answered 2xx."""
        return set(self._record.read_text(encoding="utf-8").split())

    def _event(self, number: int) -> dict[str, Any]:
        user = f"user-{number % USERS}"
        if number % 20 == 0:
            order = {"order_id": f"o-{number}", "total": number / 4, "currency": "CHF"}
            return {"type": "track", "messageId": f"m-{number}", "userId": user, "event": "Order Completed", "properties": order}
        return {"type": "track", "messageId": f"m-{number}", "userId": user, "event": "Load", "properties": {"n": number, "text": "Zoë"}}

    def _run(self) -> None:
        number = 0
        with self._record.open("ab") as record:
            while not self._stop.is_set():
                began = time.monotonic()
                made = [self._event(number + index) for index in range(BATCH)]
                number += BATCH
                batch = list(made)
                self.events.update((event["messageId"], event) for event in made)
                if self._chance.random() < 0.5:
                    batch.append(self._event(self._chance.randrange(number)))
                    self.copies += 1
                while not 200 <= self._post(orjson.dumps({"batch": batch})) < 300:
                    time.sleep(0.1)
                record.write("".join(f"{event['messageId']}\n" for event in made).encode())
                record.flush()
                os.fsync(record.fileno())
                self._stop.wait(max(0.0, BATCH / self._rate - (time.monotonic() - began)))
        if self._connection is not None:
            self._connection.close()

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._port, timeout=15)
        headers = {"authorization": "Basic " + base64.b64encode(b"demo:").decode(), "content-type": "application/json"}
        try:
            self._connection.request("POST", "/v1/batch", body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self._connection = None
            self.answers[0] += 1
            return 0
        self.answers[answer.status] += 1
        return answer.status
