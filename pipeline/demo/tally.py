"""What became of the demo's events: how many are stored, on the way, lost, or there twice."""

from collections.abc import Mapping
from typing import Final, NamedTuple

PATIENCE_S: Final = 60.0
"""An event that is not stored this long after its 2xx counts as lost. A process that was killed is back within seconds."""


class Tally(NamedTuple):
    """One count.

    Attributes:
        sent: Events that the collector acknowledged, each counted once.
        stored: Those of them that are in the lake.
        on_the_way: Those that are not there yet, and need not be.
        lost: Those that should be there by now.
        doubled: Rows beyond the first of an event.
    """

    sent: int
    stored: int
    on_the_way: int
    lost: int
    doubled: int


def tally(acknowledged: Mapping[str, float], rows: Mapping[str, int], now: float) -> Tally:
    """Compare what was acknowledged with what is stored.

    Args:
        acknowledged: When each event was acknowledged, by message id, in seconds of the same clock as `now`.
        rows: Rows of the lake by message id; ids that were not acknowledged here are not counted.
        now: The time, in seconds.

    Returns:
        The count.
    """
    found = [rows[message_id] for message_id in acknowledged if message_id in rows]
    missing = [at for message_id, at in acknowledged.items() if message_id not in rows]
    lost = sum(now - at > PATIENCE_S for at in missing)
    return Tally(len(acknowledged), len(found), len(missing) - lost, lost, sum(found) - len(found))
