"""The mapping language and the filter language (FQL): parse once, compile to closures, explain.

Comes in: a mapping (JSON in which objects with an `@` key are directives) or a query (text), from a workspace or from a
destination's declaration; then, for each event, the event as parsed JSON.

Goes out: from a mapping, JSON for a destination's fields; from a query, true or false. A compiled mapping or query is a
pure function that may be called from anywhere. What a mapping returns shares parts with the event: neither may be
changed in place while the other is in use.

Errors: `MappingError` when a mapping is compiled (all problems at once, each with its path and a hint), and, for the
few faults that only an event can show, when it is resolved: the event is then discarded with status 400. `QueryError`
when a query is compiled (column and hint); a compiled query never raises.

The rules are those of Segment's mapping kit and FQL (reference/mapping.md §1 and §2). `@liquid` is not supported.
"""

from __future__ import annotations

from pipeline.mapping.directives import compile_mapping
from pipeline.mapping.fql import Explanation, compile_query, explain, members_of
from pipeline.mapping.problems import MappingError, Problem, QueryError
from pipeline.mapping.values import MISSING

__all__ = [
    "MISSING",
    "Explanation",
    "MappingError",
    "Problem",
    "QueryError",
    "compile_mapping",
    "compile_query",
    "explain",
    "members_of",
]
