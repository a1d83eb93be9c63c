"""The figures of a benchmark run: what each benchmark's JSON says, beside its budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

HOP: Final = {"prepare": 11.0, "validate": 16.0, "enrich": 12.0, "filter": 12.0}
"""Budget of a processor, CPU µs an event (design: budgets)."""
MEMORY_MB: Final = 200.0
CORE_RATE: Final = 75_000.0
SINGLE_US: Final = 50.0
BATCHED_US: Final = 10.0
FLOOR: Final = "Kafka's performance tools"


class Row(NamedTuple):
    """One figure.

    Attributes:
        what: What was measured.
        figure: How much.
        unit: Of it.
        budget: What it should be at most (at least, where `more` is better), or None.
        more: Whether more is better.
    """

    what: str
    figure: float
    unit: str = ""
    budget: float | None = None
    more: bool = False

    @property
    def verdict(self) -> str:
        """Whether the budget is met."""
        if self.budget is None:
            return ""
        return "met" if (self.figure >= self.budget if self.more else self.figure <= self.budget) else "not met"


Found = Mapping[str, Any]
"""What a benchmark prints with `--json`."""
Rows = Callable[[Any], Iterable[Row]]
"""Takes a benchmark's JSON and gives its figures."""


def stages(label: str, budgets: Mapping[str, float]) -> Rows:
    """Figures of processors.

    Args:
        label: What sets the run apart.
        budgets: CPU µs an event by processor.
    """

    def rows(found: Iterable[Found]) -> Iterable[Row]:
        for one in found:
            what = f"{one['processor']}, {label}"
            yield Row(what, one["cpu_us"], "CPU µs an event", budgets.get(one["processor"]))
            yield Row(
                f"{what}: a core's rate",
                one["events_per_core_second"],
                "events/s",
                CORE_RATE if "prepare" in budgets.keys() & {one["processor"]} else None,
                more=True,
            )
            yield Row(f"{what}: events/s by the clock", one["events_per_second"], "events/s")
            yield Row(f"{what}: memory", one["rss_mb"], "MB", MEMORY_MB)
            yield Row(f"{what}: sockets", one["sockets"])
            yield Row(f"{what}: broker beside it", one["broker_cpu_us"], "CPU µs an event")

    return rows


def shapes(found: Mapping[str, Iterable[Found]]) -> Iterable[Row]:
    """Figures of every shape, and how much more an event costs with 200 destinations."""
    for label, one in found.items():
        yield from stages(label, {} if label == "10 KB" else HOP)(one)
    together = {label: sum(stage["cpu_us"] for stage in one) for label, one in found.items() if "destination" in label}
    most = together.get("200 destinations, 3 routes")
    for label, budget in (("1 destination", 2.0), ("20 destinations, 3 routes", None)):
        if most and label in together:
            yield Row(f"an event with 200 destinations, to {label}", round(most / together[label], 2), "times the CPU", budget)


def peers(found: Found) -> Iterable[Row]:
    """Figures of other engines, and the ratio of our CPU to theirs."""
    yield Row("prepare, warm, beside its peers", found["headrace"]["cpu_us"], "CPU µs an event")
    for name, one in found["peers"].items():
        if "not_run" in one:
            continue
        yield Row(f"{name}, {one['guarantee']}, warm", one["cpu_us"], "CPU µs an event")
        yield Row(f"{name}: memory", one["rss_mb"], "MB")
        yield Row(f"{name}: events that came out equal", one["compared"])
        yield Row(f"our CPU to {name}'s", one["ratio"], "", 0.75 if name == "kafka-streams" else None)
    if "write_cpu_us" in found.get("floor", {}):
        yield Row("kafka-producer-perf-test: written", found["floor"]["write_cpu_us"], "CPU µs an event")
        yield Row("kafka-consumer-perf-test: read", found["floor"]["read_cpu_us"], "CPU µs an event")


def latency(budget: float) -> Rows:
    """Figures of the way from a 200 to a webhook.

    Args:
        budget: p99 in milliseconds.
    """

    def rows(found: Found) -> Iterable[Row]:
        what = f"200 to webhook, {found['topology']}, {found['events_per_second']:.0f} events/s"
        yield Row(f"{what}: p50", found["p50_ms"], "ms")
        yield Row(f"{what}: p99", found["p99_ms"], "ms", budget)
        yield Row(f"{what}: transactions", sum(found["transactions_per_second"].values()), "/s")
        yield Row(f"{what}: processor time", sum(found["cores"].values()), "cores")

    return rows


def hot_path(found: Found) -> Iterable[Row]:
    """Figures of the chain and its hops without Kafka."""
    for name, cost in found["cpu_us"].items():
        yield Row(f"without Kafka: {name}" if name.startswith("hop ") else f"fused without Kafka: {name}", cost, "CPU µs an event")


def mapping(found: Found) -> Iterable[Row]:
    """Figure of a compiled mapping."""
    yield Row("a mapping of 20 fields", found["mapping_cpu_us"], "CPU µs", 20.0)


def transactions(found: Found) -> Iterable[Row]:
    """Figures of a transaction."""
    yield Row("one transaction, 4 partitions at once", found["cpu_ms_ours"], "CPU ms")
    yield Row("one transaction: the broker's part", found["cpu_ms_broker"], "CPU ms")


def ingest(found: Found) -> Iterable[Row]:
    """Figures of the collector under load; budgets are those of kept-alive connections without gzip."""
    for one in found["closed_loop"]:
        what = f"ingest, {one['kind']}, {one['connections']} connection{'s' if one['connections'] > 1 else ''}"
        plain = one["keep_alive"] and not one["gzip"]
        yield Row(
            what, one["cpu_us"], "CPU µs an event", (SINGLE_US if one["batch"] == 1 else BATCHED_US) if plain and one["connections"] > 1 else None
        )
        yield Row(f"{what}: p50", one["p50_ms"], "ms")
        yield Row(f"{what}: p99", one["p99_ms"], "ms")
        yield Row(f"{what}: stored", one["events_per_second"], "events/s")
        if plain and one["batch"] == 1 and one["connections"] == 256:
            yield Row(f"{what}: a core's rate", one["events_per_core_second"], "events/s", 12_000.0, more=True)
            yield Row(f"{what}: memory", one["rss_mb"], "MB")
        if refused := sum(one["refused"].values()):
            yield Row(f"{what}: not stored", refused, "requests")
    for name, one in found["at_rate"].items():
        what = f"ingest, {one['rate']:.0f} requests/s, broker {name}"
        yield Row(what, one["cpu_us"], "CPU µs an event", SINGLE_US if name == "idle" else None)
        yield Row(f"{what}: stored", one["events_per_second"], "events/s")
        yield Row(f"{what}: p50", one["p50_ms"], "ms")
        yield Row(f"{what}: p99", one["p99_ms"], "ms", 25.0 if name == "idle" else None)


def stopped_broker(found: Found) -> Iterable[Row]:
    """Figures of the collector before a frozen broker; the refusals' budgets are a second beyond the bound that they come from."""
    what = "ingest, broker stopped"
    yield Row(f"{what}: acknowledged and lost", found["acknowledged_and_lost"], "events", 0.0)
    yield Row(f"{what}: acknowledged", found["acknowledged"], "events")
    yield Row(f"{what}: refusals without Retry-After", found["without_retry_after"], "", 0.0)
    for reason, seconds in found["slowest_seconds"].items():
        if reason.startswith("503"):
            bound = 1.0 + (found["patience_seconds"] if "unavailable" in reason else 0.0)
            yield Row(f"{what}: slowest {reason}", seconds, "s", bound)
        elif reason != "200":
            yield Row(f"{what}: answers {reason}", found["answers"][reason], "", 0.0)
    yield Row(f"{what}: first 200 once it is back", found["back_after_seconds"] if found["back_after_seconds"] is not None else float("inf"), "s")
    yield Row(f"{what}: memory before", found["calm_rss_mb"], "MB")
    early, late = found["frozen_rss_mb"]["first_half"], found["frozen_rss_mb"]["second_half"]
    yield Row(f"{what}: memory, most", max(early, late), "MB")
    yield Row(f"{what}: memory, second half to first", round(late / early, 2), "times", 1.1)


def catch_up(found: Found) -> Iterable[Row]:
    """Figures of a pipeline after a stop."""
    what = f"after {found['stopped_seconds']:.0f} s without processes at {found['inflow']:.0f} events/s, {found['topology']}"
    yield Row(f"{what}: backlog", found["backlog"], "events")
    yield Row(f"{what}: processes ready", found["ready_seconds"], "s")
    yield Row(f"{what}: caught up" if found["caught_up"] else f"{what}: not caught up, given up", found["drain_seconds"], "s")
    yield Row(f"{what}: rate", found["times_the_inflow"], "times the inflow", 3.0, more=True)
    for name, most in found["rss_mb"].items():
        yield Row(f"{what}: memory of {name}, most", most, "MB", MEMORY_MB)


def lake(found: Found) -> Iterable[Row]:
    """Figure of a row of the lake."""
    yield Row("a row of the lake, from record to Parquet", found["cpu_us"], "CPU µs", 15.0)


def deliver(found: Found) -> Iterable[Row]:
    """Figures of a delivered request."""
    yield Row("a delivered request", found["cpu_us"], "CPU µs", 60.0)
    yield Row("a delivered request: the client alone", found["client_cpu_us"], "CPU µs")


def left_out(found: object) -> list[str]:
    """Say which peers could not be run, and why."""
    if not isinstance(found, dict) or "peers" not in found:
        return []
    return [f"{name}: {one['not_run']}" for name, one in {**found["peers"], FLOOR: found.get("floor", {})}.items() if "not_run" in one]


def settings(found: object) -> list[tuple[str, str]]:
    """Give the settings of peers and the version of the load generator, by name."""
    if not isinstance(found, dict):
        return []
    peers_of = {**found.get("peers", {}), FLOOR: found.get("floor", {})}
    said = [(name, ", ".join(f"`{key}={value}`" for key, value in one["settings"].items())) for name, one in peers_of.items() if "settings" in one]
    return [*said, *([("load generator", found["generator"])] if "generator" in found else [])]
