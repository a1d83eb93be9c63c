"""Explain: say what happened to one event and why, and what would happen to many under another configuration.

Comes in: what lies in the topics of one event (`Evidence`), and a way to run the steps of any version of the configuration on a record again
(`Recomputation`). Goes out: the verdict of every stage in order, with its reason, the very rule behind it, what it changed, and whether running
it again gives what is stored. Reasons: none of its own.

Nothing here reads a topic: who does gives in what was found, so that every finding can be checked with plain values.
"""

from __future__ import annotations

from pipeline.explain.changes import Change, changes
from pipeline.explain.evidence import Evidence, Judged, Recomputation, Taken
from pipeline.explain.explanation import explain
from pipeline.explain.findings import Attempt, Explanation, Finding, Mapped, Place, Target, as_data
from pipeline.explain.preview import Preview, preview_as_data

__all__ = [
    "Attempt",
    "Change",
    "Evidence",
    "Explanation",
    "Finding",
    "Judged",
    "Mapped",
    "Place",
    "Preview",
    "Recomputation",
    "Taken",
    "Target",
    "as_data",
    "changes",
    "explain",
    "preview_as_data",
]
