"""Which dead letters are meant."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.dead_letters.letter import Letter, parse_place
from pipeline.model.topics import DEAD_STAGES


class Choice(NamedTuple):
    """Which dead letters are meant: those that satisfy all that is given.

    Attributes:
        stage: Only letters of this stage; empty for all.
        reason: Only letters with this reason; empty for all.
        destination: Only letters of this destination or storage; empty for all.
        source: Only letters of this source; empty for all.
        begin_ms: Only letters written from then on, milliseconds since the epoch; None for no bound.
        end_ms: Only letters written before then; None for no bound.
        places: Only the letters at these places; empty for all.
    """

    stage: str = ""
    reason: str = ""
    destination: str = ""
    source: str = ""
    begin_ms: int | None = None
    end_ms: int | None = None
    places: frozenset[str] = frozenset()

    def stages(self) -> list[str]:
        """List the stages whose letters may be among them."""
        named = {place[0] for place in map(parse_place, self.places) if place}
        return [stage for stage in DEAD_STAGES if self.stage in ("", stage) and (not named or stage in named)]

    def start(self, stage: str) -> dict[int, int]:
        """Give the offset of the first letter that may be meant, by partition.

        Args:
            stage: One of the stages.

        Returns:
            Offsets of the partitions that need not be read from their beginning.
        """
        first: dict[int, int] = {}
        for place in map(parse_place, self.places):
            if place and place[0] == stage:
                first[place[1]] = min(place[2], first.get(place[1], place[2]))
        return first

    def holds(self, letter: Letter) -> bool:
        """Say whether a letter is meant.

        Args:
            letter: The letter.

        Returns:
            Whether it satisfies all that is given.
        """
        at = letter.record.timestamp
        return (
            self.stage in ("", letter.stage)
            and self.reason in ("", letter.reason)
            and self.destination in ("", letter.destination)
            and self.source in ("", letter.source)
            and (self.begin_ms is None or at >= self.begin_ms)
            and (self.end_ms is None or at < self.end_ms)
            and (not self.places or letter.place in self.places)
        )
