"""The filter of the dedup store: which groups of its files may hold an id.

One array of words, in which bit g of a word is group g's Bloom filter: four reads and three ANDs leave the bits of the groups that may hold an id,
which is none for nearly all new ones. A word has 8 bits until there are more groups than that, then 16, then 32: a store that is a tenth full
takes a quarter of the memory of a full one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_TOUCHED_BYTES: Final = 1 << 22
_WIDTHS: Final = (np.uint8, np.uint16, np.uint32)


class GroupFilter:
    """A filter that takes no memory before it is made, and knows of no group.

    Args:
        size: How many words it has.

    Attributes:
        is_made: Whether it notes what it is given.
        view: Its words, once it is made; they are other ones after `widen`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._words: NDArray[Any] = np.zeros(0, np.uint8)
        self.is_made = False
        self.view = self._words.data

    def make(self, bits: Callable[[], int]) -> Iterator[None]:
        """Make it, touching its memory a little at a time: a first touch clears up to 2 MB, and hashes touch all of it at once.

        Args:
            bits: Says how many bits a word needs.

        Yields:
            After each part.
        """
        made = np.zeros(self._size, _width(bits()))
        touched = _TOUCHED_BYTES // made.itemsize
        for start in range(0, self._size, touched):
            made[start : start + touched] = 0
            yield
        self._words, self.view, self.is_made = made, made.data, True
        self.widen(bits())  # for groups that came meanwhile

    def widen(self, bits: int) -> None:
        """See that a word has so many bits; twice in the life of a store all words are copied, which takes 10 to 20 ms.

        Args:
            bits: How many a word needs, at most 32.
        """
        width = _width(bits)
        if self.is_made and self._words.itemsize < width.itemsize:
            self._words = self._words.astype(width)
            self.view = self._words.data

    def note(self, rows: NDArray[np.uint32], bit: int) -> None:
        """Note that a group holds ids.

        Args:
            rows: Their digests as four numbers each (`segment.words`).
            bit: The group's.
        """
        if not self.is_made:
            return
        mask = self._words.dtype.type(1 << bit)
        for column in range(4):
            self._words[rows[:, column] % np.uint32(self._size)] |= mask

    def drop(self, bit: int) -> None:
        """Forget a group.

        Args:
            bit: The group's.
        """
        if self.is_made:
            self._words &= ~self._words.dtype.type(1 << bit)


def _width(bits: int) -> np.dtype[Any]:
    return next(width for width in map(np.dtype, _WIDTHS) if 8 * width.itemsize >= bits)
