"""What a topology declares: processors, the steps that each runs in order, and the topics that their lanes lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.model.topics import DEDUP_WINDOW_SECONDS, EVENT_PARTITIONS

Kind = Literal["steps", "deliver", "retry", "lake", "replay"]
"""How a processor runs: pure steps in transactions, HTTP delivery, the retry delays, a lake sink, or replay jobs."""

ForEach = Literal["", "destination", "storage"]


@dataclass(frozen=True, slots=True)
class Processor:
    """One consumer group, or one for each destination or storage.

    Attributes:
        name: Name, stable for ever: it becomes part of group names and transactional ids.
        input: Topic that it reads, without prefix; `{destination}` and `{storage}` stand for the id.
        kind: How it runs.
        steps: Names of its steps in order, from the registry; empty unless `kind` is `steps`.
        lanes: Topic of each lane by lane name; `{destination}`, `{stage}` and `{storage}` stand for ids.
        for_each: What there is one consumer group for each of; empty for a single one.
        enrichments: Names of the enrichments in order, for a processor with the step `enrich`.
        process: Name of the process that hosts it on one machine; processors with the same name share one.
        commit_interval_ms: Longest time that a transaction stays open under load, in milliseconds.
        dedup_window_seconds: How long the step `dedup` remembers a message.
        dedup_max_ids: Most messages that it remembers in one partition; beyond it the oldest are forgotten.
    """

    name: str
    input: str
    kind: Kind = "steps"
    steps: tuple[str, ...] = ()
    lanes: Mapping[str, str] = field(default_factory=dict)
    for_each: ForEach = ""
    enrichments: tuple[str, ...] = ()
    process: str = ""
    commit_interval_ms: int = 100
    dedup_window_seconds: int = DEDUP_WINDOW_SECONDS
    dedup_max_ids: int = 12_500_000


@dataclass(frozen=True, slots=True)
class Topology:
    """Processors by name, and how many partitions the events' topics have."""

    name: str
    processors: Mapping[str, Processor]
    partitions: int = EVENT_PARTITIONS

    @property
    def dedup_windows(self) -> dict[str, int]:
        """How long each processor with dedup state remembers a message, in seconds, by name."""
        return {one.name: one.dedup_window_seconds for one in self.processors.values() if "dedup" in one.steps}
