"""Finds the input whose output a broker refuses: each refusal halves what the next transaction takes, until one record is left."""

from __future__ import annotations


class Suspicion:
    """What is known of refusals in one partition; it outlives the workers that met them.

    Attributes:
        guilty: Why the output of a record was refused, by its offset, once for each time.
    """

    def __init__(self) -> None:
        self.guilty: dict[int, tuple[str, ...]] = {}
        self._until = -1
        self._most = 0

    def most(self, offset: int) -> int | None:
        """Say how many records a transaction may take.

        Args:
            offset: Its first record's.

        Returns:
            The number, or None for any.
        """
        return self._most if offset < self._until else None

    def refused(self, start: int, end: int, records: int, why: str, *, spared: bool = False) -> bool:
        """Note that a transaction was refused.

        Args:
            start: Offset of its first record.
            end: Offset after its last one.
            records: How many there were.
            why: What the broker said.
            spared: Whether a guilty record among them had output beside its dead letters.

        Returns:
            Whether there is something left to try; not where the dead letter of a guilty record is refused in its turn.
        """
        if records == 1 and start in self.guilty and not spared:
            return False
        self._until = max(self._until, end)
        self._most = max(1, records // 2)
        if records == 1:
            self.guilty[start] = (*self.guilty.get(start, ()), why)
        return True

    def committed(self, end: int) -> None:
        """Note that a transaction was committed; beyond what was refused all is as before.

        Args:
            end: Offset after its last record.
        """
        self.guilty = {offset: why for offset, why in self.guilty.items() if offset >= end}
        if end >= self._until:
            self._until = -1
