"""Which records are looked at when there are more than a page can show."""

from __future__ import annotations

import math
import zlib
from typing import Final

from pipeline.app.live.ledgers import Rate

EVENTS_PER_SECOND: Final = 300
"""Up to this rate every event is looked at; a person reads no more, and the collector needs the processor's time."""
ALWAYS: Final = b"headrace-live-"
"""How the key of an event begins that the page itself sent; it is always looked at."""


class Sampling:
    """Chooses by key, so that of a chosen event every stage is seen, and of any other none.

    Attributes:
        one_in: One key of so many is looked at.
        arrivals: Records of `raw` by second.
    """

    def __init__(self, most: int = EVENTS_PER_SECOND) -> None:
        self._most = most
        self.one_in = 1
        self.arrivals = Rate()

    def arrived(self, at_ms: int, count: int) -> None:
        """Count records of `raw`."""
        self.arrivals.add(at_ms, count)

    def pace(self, now_ms: int) -> None:
        """Choose the share by the rate of the last three whole seconds."""
        rate = sum(self.arrivals.history(now_ms)[-3:]) / 3
        # Powers of two, and down only well below the mark: the chosen keys change seldom, and the wider choice holds the narrower one.
        wanted = 2 ** max(0, math.ceil(math.log2(max(1.0, rate / self._most))))
        if wanted > self.one_in or rate * 1.5 / self._most < self.one_in / 2:
            self.one_in = max(1, wanted)

    def takes(self, key: bytes | None) -> bool:
        """Say whether records with a key are looked at."""
        return self.one_in == 1 or key is None or key.startswith(ALWAYS) or zlib.crc32(key) % self.one_in == 0
