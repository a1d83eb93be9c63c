"""The figures of a benchmark run: what each benchmark's JSON says, beside its budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

HOP: Final = {"prepare": 11.0, "validate": 16.0, "enrich": 12.0, "filter": 12.0, "lake": 15.0}
"""Budget of a processor, CPU µs an event (design: budgets)."""
MEMORY_MB: Final = 200.0
CORE_RATE: Final = 75_000.0
SINGLE_US: Final = 50.0
BATCHED_US: Final = 10.0
TURN_MS: Final = 50.0
WHOLE_WAY_US: Final = 200.0
PEER_RATIO: Final = 0.75
DESTINATIONS_TIMES: Final = 2.0
SIZE_TIMES: Final = 10.0
DELIVER: Final = "deliver"
FLOOR: Final = "Kafka's performance tools"
SHAPE: Final = "1 KB, 4 partitions, 1 process"
"""Label of the shape that the others differ from in one thing."""
ALONE: Final = "sent to 1 destination"
AMONG: Final = "sent to 3 of 200 destinations"
GROWTH: Final = {
    "partitions": ((1, "1 partition"), (4, SHAPE), (16, "16 partitions")),
    "processes": ((1, SHAPE), (2, "2 processes"), (4, "4 processes")),
    "schemas": ((1, "1 schema"), (100, "100 schemas"), (1_000, "1,000 schemas")),
    "destinations, 3 routes": ((1, "1 destination"), (20, "20 destinations, 3 routes"), (200, "200 destinations, 3 routes")),
    "KB of an event": ((1, SHAPE), (10, "10 KB")),
}
"""Shapes along which something grows: how much there is of it, and the label."""
BUDGETS_OF_GROWTH: Final[Mapping[str, Callable[[float], float]]] = {
    "partitions": lambda _first: HOP["prepare"],
    "processes": lambda _first: HOP["prepare"],
    "schemas": lambda _first: HOP["prepare"],
    "destinations, 3 routes": lambda first: DESTINATIONS_TIMES * first,
    "KB of an event": lambda first: SIZE_TIMES * first,
}
"""What an event may cost at most along each line, by what it costs at its beginning."""


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


class Curve(NamedTuple):
    """How a figure grows.

    Attributes:
        of: What grows.
        points: How much there is of it, and CPU µs an event.
        budget: CPU µs that an event may cost at most.
    """

    of: str
    points: tuple[tuple[float, float], ...]
    budget: float


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
            yield Row(what, one["cpu_us"], f"CPU µs a{' request' if one['processor'] == DELIVER else 'n event'}", budgets.get(one["processor"]))
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
            yield from turns(what, one)

    return rows


def turns(what: str, one: Found) -> Iterable[Row]:
    """Figures of the turns of event loops, by the upper bound of the bucket that they fall in."""
    yield Row(f"{what}: longest turn of a loop", one["turn_longest_ms"], "CPU ms", TURN_MS)
    yield Row(f"{what}: 999 of 1,000 turns of a loop", one["turn_p999_ms"], "CPU ms", TURN_MS)


def _together(found: Mapping[str, Iterable[Found]]) -> dict[str, float]:
    return {label: sum(stage["cpu_us"] for stage in one) for label, one in found.items()}


def shapes(found: Mapping[str, Mapping[str, Any]]) -> Iterable[Row]:
    """Figures of every shape, and how much more an event costs where there is more of something."""
    measured: Mapping[str, Sequence[Found]] = found["shapes"]
    for label, one in measured.items():
        yield from stages(label, {} if label == "10 KB" else HOP)(one)
    together = _together(measured)
    for more, less, budget in (
        ("200 destinations, 3 routes", "1 destination", DESTINATIONS_TIMES),
        ("200 destinations, 3 routes", "20 destinations, 3 routes", None),
        ("1,000 schemas", "1 schema", None),
        ("16 partitions", "1 partition", None),
        ("4 processes", SHAPE, None),
        ("10 KB", SHAPE, SIZE_TIMES),
    ):
        if more in together and less in together:
            yield Row(f"an event with {more}, to {less}", round(together[more] / together[less], 2), "times the CPU", budget)
    if {ALONE, AMONG} <= measured.keys():
        times = measured[AMONG][0]["cpu_us"] / measured[ALONE][0]["cpu_us"]
        yield Row(f"a request {AMONG}, to one {ALONE}", round(times, 2), "times the CPU", DESTINATIONS_TIMES)


def curves(found: object) -> list[Curve]:
    """Give the growth of an event's CPU time along partitions, processes, schemas, destinations and size.

    Args:
        found: What a benchmark printed; those of other benchmarks have no curves.

    Returns:
        The curves of which there are two points at least.
    """
    if not isinstance(found, dict) or "shapes" not in found:
        return []
    together = _together(found["shapes"])
    drawn = []
    for of, line in GROWTH.items():
        points = tuple((float(much), together[label]) for much, label in line if label in together)
        if len(points) > 1:
            drawn.append(Curve(of, points, BUDGETS_OF_GROWTH[of](points[0][1])))
    return drawn


def whole_way(found: Found) -> Iterable[Row]:
    """Figures of an event's whole way, from an HTTP request to a webhook and the lake."""
    for kind, one in found["kinds"].items():
        what = f"whole way, {found['topology']}, {kind} at {one['events_per_second']:,.0f} events/s"
        yield Row(f"{what}, each of {one['events']:,} arrived once", one["cpu_us"], "CPU µs an event", WHOLE_WAY_US)
        yield Row(f"{what}, with the lake", one["cpu_us_with_lake"], "CPU µs an event", WHOLE_WAY_US)
        for name, cost in one["cpu_us_by_process"].items():
            yield Row(f"{what}: of that {name}", cost, "CPU µs an event")
        yield Row(f"{what}: of the {one['offered']:,.0f} offered", round(one["events_per_second"] / one["offered"], 2), "", 0.95, more=True)
        yield Row(f"{what}: broker beside it", one["broker_cpu_us"], "CPU µs an event")
        yield Row(f"{what}: memory of all processes", one["rss_mb"], "MB")
        yield Row(f"{what}: last arrival after the last answer", one["last_arrival_seconds"], "s")
        yield from turns(what, one)


def explain(found: Found) -> Iterable[Row]:
    """Figures of explanations: of each the first try and the second."""
    what = f"explain one of {found['events']:,} events"
    for one in found["explained"]:
        yield Row(f"{what}: {one['event']}", one["seconds"], "s", 2.0)
    yield Row(f"{what}: records read, most", max(one["records_read"] for one in found["explained"]))
    yield Row(f"{what}: its own time, most", max(one["cpu_seconds"] for one in found["explained"]), "CPU s")


def dedup(found: Found) -> Iterable[Row]:
    """Figures of the dedup store; the longest piece of work that it does in one turn of a loop is among them."""
    what = f"dedup at {found['ids']:,} live ids in a partition"
    yield Row(f"{what}: a look-up and a write", found["cpu_us"], "CPU µs an event", 6.0)
    yield Row(f"{what}: memory", found["resident_mb"], "MB", MEMORY_MB)
    yield Row(f"{what}: rebuilt", found["rebuild_ids_per_cpu_second"], "ids a CPU second", 1_000_000.0, more=True)
    yield Row(f"{what}: longest write", found["longest_write_ms"], "CPU ms", TURN_MS)
    yield Row(f"{what}: longest piece of a rebuild", found["longest_rebuild_ms"], "CPU ms", TURN_MS)


def peers(found: Found) -> Iterable[Row]:
    """Figures of other engines, and the ratio of our CPU to theirs."""
    yield Row("prepare, warm, beside its peers", found["headrace"]["cpu_us"], "CPU µs an event")
    for name, one in found["peers"].items():
        if "not_run" in one:
            continue
        yield Row(f"{name}, {one['guarantee']}, warm", one["cpu_us"], "CPU µs an event")
        yield Row(f"{name}: memory", one["rss_mb"], "MB")
        yield Row(f"{name}: events that came out equal", one["compared"])
        yield Row(f"our CPU to {name}'s", one["ratio"], "", PEER_RATIO)
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
    yield Row("one commit, 4 partitions of a member at once", found["cpu_ms_ours"], "CPU ms")
    yield Row("one commit: the broker's part", found["cpu_ms_broker"], "CPU ms")


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
        yield Row(f"{what}: longest turn of a loop", one["turn_longest_ms"], "CPU ms", TURN_MS)
        if refused := sum(one["refused"].values()):
            yield Row(f"{what}: not stored", refused, "requests")
    every = [*found["closed_loop"], *found["at_rate"].values()]
    yield Row("ingest, worst of these: 999 of 1,000 turns of a loop", max(one["turn_p999_ms"] for one in every), "CPU ms", TURN_MS)
    for name, one in found["at_rate"].items():
        what = f"ingest, {one['rate']:.0f} requests/s, broker {name}"
        yield Row(what, one["cpu_us"], "CPU µs an event", SINGLE_US if name == "idle" else None)
        yield Row(f"{what}: stored", one["events_per_second"], "events/s")
        yield Row(f"{what}: p50", one["p50_ms"], "ms")
        yield Row(f"{what}: p99", one["p99_ms"], "ms", 25.0 if name == "idle" else None)
        yield Row(f"{what}: longest turn of a loop", one["turn_longest_ms"], "CPU ms", TURN_MS)


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
    yield from turns(what, found)


def lake(found: Found) -> Iterable[Row]:
    """Figure of a row of the lake."""
    yield Row("a row of the lake, from record to Parquet", found["cpu_us"], "CPU µs", 15.0)


def deliver(found: Found) -> Iterable[Row]:
    """Figures of a delivered request."""
    yield Row("a delivered request", found["cpu_us"], "CPU µs", 60.0)
    yield Row("a delivered request: the client alone", found["client_cpu_us"], "CPU µs")


def left_out(found: object) -> list[str]:
    """Say which peers and shapes could not be run, and why."""
    if isinstance(found, dict) and "shapes" in found:
        return [f"{label}: {why}" for label, why in found["not_run"].items()]
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
