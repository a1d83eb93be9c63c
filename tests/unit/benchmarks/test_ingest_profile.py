"""Looks at the collector's stacks, added up by place."""

from __future__ import annotations

from benchmarks.ingest_profile import LOOP, shares

LOOKS = [
    "run (pipeline/app/cli/run.py:1);feed (collector/connection.py:2);_single (pipeline/ingest/collect.py:3);encode (json_text.py:4) 3",
    "run (pipeline/app/cli/run.py:1);collect (pipeline/ingest/collect.py:3);parsed (pipeline/ingest/body.py:4);decode (msgspec.so) 4",
    "run (pipeline/app/cli/run.py:1);uv_run (core.c:5);read (libc.so.6) 1",
]


def test_a_look_counts_for_the_innermost_place() -> None:
    """Libraries count for who calls them, and what no room of ours called for the event loop; together they are the whole."""
    found = shares(LOOKS)
    assert {"decide: the rest": 0.375, "read JSON (gzip, doubled keys, values counted)": 0.5, LOOP: 0.125} == {
        place: share for place, share in found.items() if share
    }
    assert sum(found.values()) == 1
