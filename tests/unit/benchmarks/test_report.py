"""The report of `make bench`: a budget that is not met is never hidden."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import figures
from benchmarks.cluster import Usage, turns_between
from benchmarks.drawing import picture
from benchmarks.figures import SHAPE, Curve, Row
from benchmarks.generator import Load, answers, command
from benchmarks.run import Result, page

ABOUT = {"date": "2026-01-02", "python": "3", "system": "x", "kafka": "4", "load_before": [0], "load_after": [0], "packages": {"orjson": "3"}}
SLOW = Row("a slow thing", 12.0, "µs", 10.0)
FAST = Row("a fast thing", 8.0, "µs", 10.0)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (FAST, "met"),
        (SLOW, "not met"),
        (Row("a rate", 12.0, "/s", 10.0, more=True), "met"),
        (Row("a rate", 8.0, "/s", 10.0, more=True), "not met"),
        (Row("nothing lost", 0.0, "events", 0.0), "met"),
        (Row("one lost", 1.0, "events", 0.0), "not met"),
        (Row("no budget", 8.0), ""),
    ],
)
def test_a_figure_is_judged_by_its_budget(row: Row, verdict: str) -> None:
    """At most the budget is met, or at least it where more is better; without a budget nothing is said."""
    assert row.verdict == verdict


def test_the_page_says_first_what_is_not_met_and_what_was_not_run() -> None:
    """Both stand above the table."""
    runs = [{"command": "python -m benchmarks.lake", "seconds": 3.0, "found": {}}]
    text = page(Result([FAST, SLOW], ["`python -m benchmarks.ingest`: no oha"], runs), ABOUT, "make bench")
    above, _, table = text.partition("| what |")
    assert "Budgets met: 1 of 2. Not met:" in above
    assert "- a slow thing: 12.00 µs (≤ 10)" in above
    assert "- not run: `python -m benchmarks.ingest`: no oha" in above
    assert "| a slow thing | 12.00 µs | ≤ 10 | not met |" in table
    assert "| `python -m benchmarks.lake` | 3.0 |" in table


def test_the_picture_has_a_bar_for_each_budget() -> None:
    """Bars of figures of nothing, and of budgets of nothing, have a width too."""
    rows = [FAST, SLOW, Row("no budget", 1.0), Row("nothing lost", 0.0, "", 0.0), Row("no rate", 0.0, "", 3.0, more=True)]
    drawn = ET.fromstring(picture(rows, []))  # noqa: S314 (our own text)
    assert len(drawn.findall("{*}rect")) == 1 + 4


def test_what_grows_is_drawn_as_a_line_with_a_point_for_each_shape() -> None:
    """The line goes up where an event costs more, and its budget is drawn across."""
    drawn = ET.fromstring(picture([], [Curve("schemas", ((1.0, 10.0), (100.0, 20.0), (1000.0, 40.0)), 11.0)]))  # noqa: S314 (our own text)
    lines = [line.get("points", "") for line in drawn.findall(".//{*}polyline")]
    heights = [float(point.partition(",")[2]) for point in lines[0].split()]
    assert heights == sorted(heights, reverse=True)
    assert len(drawn.findall(".//{*}circle")) == len(heights) == 3


def test_shapes_become_lines_and_other_benchmarks_none() -> None:
    """All stages of a shape together, by how much there is of what grows; the shape that all differ from stands on each line."""
    found = {SHAPE: [{"cpu_us": 10.0}], "16 partitions": [{"cpu_us": 12.0}], "1 destination": [{"cpu_us": 5.0}, {"cpu_us": 6.0}]}
    assert figures.curves({"shapes": found, "not_run": {}}) == [Curve("partitions", ((4.0, 10.0), (16.0, 12.0)), 11.0)]
    assert figures.curves([{"cpu_us": 1.0}]) == figures.curves({"cpu_us": 1.0}) == []


def test_the_longest_turn_of_all_processes_is_the_bound_of_its_bucket() -> None:
    """Turns before the first reading do not count; one in a thousand may be longer than the p99.9."""
    nothing = Usage(0.0, 0, 0, 0, 0, 0, 0.0, 0, {0.05: 1, 0.25: 7})
    one, other = nothing._replace(turns={0.05: 1001, 0.25: 7}), nothing._replace(turns={0.05: 1, 0.25: 8})
    assert turns_between([nothing, nothing], [one, other]) == {"turns": 1001, "turn_p999_ms": 50.0, "turn_longest_ms": 250.0}
    assert turns_between([nothing], [nothing]) == {"turns": 0, "turn_p999_ms": 0.0, "turn_longest_ms": 0.0}


def test_two_hundred_destinations_are_compared_with_one() -> None:
    """The cost of all stages together, and at most double."""
    stage = {
        "processor": "prepare",
        "events_per_core_second": 1,
        "events_per_second": 1,
        "rss_mb": 1,
        "sockets": 1,
        "broker_cpu_us": 1,
        "turn_longest_ms": 1,
        "turn_p999_ms": 1,
    }
    found = {"1 destination": [{**stage, "cpu_us": 10.0}, {**stage, "cpu_us": 20.0}], "200 destinations, 3 routes": [{**stage, "cpu_us": 75.0}]}
    row = next(row for row in figures.shapes({"shapes": found, "not_run": {}}) if row.unit == "times the CPU")
    assert (row.figure, row.verdict) == (2.5, "not met")


def test_a_peer_that_could_not_run_is_named_with_the_reason() -> None:
    """It is no figure, and no silence either."""
    found = {"headrace": {"cpu_us": 1.0}, "peers": {"kafka-streams": {"not_run": "there is no javac"}}}
    assert figures.left_out(found) == ["kafka-streams: there is no javac"]
    assert [row.what for row in figures.peers(found)] == ["prepare, warm, beside its peers"]


def test_a_shape_that_could_not_be_measured_is_named_and_takes_no_other_with_it() -> None:
    """What failed stands above the table; the figures of the others stay."""
    assert figures.left_out({"shapes": {SHAPE: []}, "not_run": {figures.AMONG: "a process ended"}}) == [f"{figures.AMONG}: a process ended"]


def test_the_generator_keeps_a_rate_and_measures_from_when_a_request_was_due() -> None:
    """An open loop, so that a slow answer delays no later request's clock."""
    line = command(Load("/v1/track", Path("bodies"), 64, 2.0, rate=2000.0), 7070)
    assert line[line.index("-q") + 1] == "2000"
    assert "--latency-correction" in line
    assert line[-1] == "http://127.0.0.1:7070/v1/track"


def test_answers_other_than_200_are_counted_by_status() -> None:
    """A load that was refused is no figure of stored events."""
    report = b'{"statusCodeDistribution":{"200":7,"503":2},"errorDistribution":{},"latencyPercentiles":{"p50":0.002,"p99":0.02}}'
    found = answers(report)
    assert (found.stored, found.others, found.p50_ms, found.p99_ms) == (7, {"503": 2}, 2.0, 20.0)


def test_a_report_of_compiled_modules_says_so() -> None:
    """Who reads the figures knows of which build they are."""
    sentence = "The hot modules were compiled (`make compiled`)."
    assert sentence in page(Result([FAST], [], []), {**ABOUT, "compiled": True}, "make bench COMPILED=1")
    assert sentence not in page(Result([FAST], [], []), {**ABOUT, "compiled": False}, "make bench")
