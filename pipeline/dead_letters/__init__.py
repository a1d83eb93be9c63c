"""Decides what becomes of dead letters: which of them are meant, which were handled before, and where each goes to be judged anew.

In: records of `dead.<stage>` and of `handled`. Out: for each letter a record on its way back, or why it stays where it is; reason `discarded`.
"""

from __future__ import annotations

from pipeline.dead_letters.choice import Choice
from pipeline.dead_letters.handled import Handled, HandledLetters, handled_record
from pipeline.dead_letters.letter import Letter, parse_place, place_of, read_letter
from pipeline.dead_letters.redrive import Stays, Way, way_back

__all__ = [
    "Choice",
    "Handled",
    "HandledLetters",
    "Letter",
    "Stays",
    "Way",
    "handled_record",
    "parse_place",
    "place_of",
    "read_letter",
    "way_back",
]
