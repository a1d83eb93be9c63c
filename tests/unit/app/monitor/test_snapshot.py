"""Windows become the series that the live page draws."""

from pipeline.app.monitor.snapshot import volumes
from pipeline.app.monitor.volumes import Entry, Window, WindowKey
from pipeline.model.ledger import Row

NOW = 29_000_000
PASSED = Row("web", "track", "Signed Up", "passed")
DROPPED = Row("web", "page", "", "dropped", "duplicate")
WITHHELD = Row("web", "page", "", "withheld", "unrouted", "crm")


def window(*rows: tuple[Row, int]) -> Window:
    """Make a window with these counts."""
    made = Window()
    made.add(Entry("filter", "enriched/0", 0, 1, NOW * 60_000, rows))
    return made


def test_lays_out_series_by_minute() -> None:
    """Series are largest first, with a zero where nothing happened; what lies outside of the range is left out."""
    windows = {
        WindowKey(NOW - 3, "filter"): window((PASSED, 99)),
        WindowKey(NOW - 1, "filter"): window((PASSED, 6), (DROPPED, 24)),
        WindowKey(NOW, "filter"): window((PASSED, 3), (WITHHELD, 2)),
        WindowKey(NOW, "validate"): window((PASSED, 3)),
    }
    answer = volumes(windows, now_minute=NOW, minutes=3)
    assert answer["minutes"] == [(NOW - 2) * 60_000, (NOW - 1) * 60_000, NOW * 60_000]
    assert [(series["processor"], series["verdict"], series["counts"]) for series in answer["series"]] == [
        ("filter", "dropped", [0, 24, 0]),
        ("filter", "passed", [0, 6, 3]),
        ("validate", "passed", [0, 0, 3]),
        ("filter", "withheld", [0, 0, 2]),
    ]
    assert answer["series"][0] == {
        "processor": "filter",
        "source": "web",
        "type": "page",
        "event": "",
        "verdict": "dropped",
        "reason": "duplicate",
        "destination": "",
        "counts": [0, 24, 0],
    }


def test_gives_rates_by_processor() -> None:
    """A rate is that of the last whole minute, and destinations withheld are no inputs."""
    windows = {
        WindowKey(NOW - 1, "filter"): window((PASSED, 6), (DROPPED, 24), (WITHHELD, 50)),
        WindowKey(NOW, "filter"): window((PASSED, 3)),
    }
    assert volumes(windows, now_minute=NOW, minutes=2)["processors"] == {"filter": {"counts": [30, 3], "per_second": 0.5}}


def test_gives_no_rate_without_a_whole_minute() -> None:
    """One minute is the one under way, which has no rate yet; nothing at all is nothing."""
    assert volumes({WindowKey(NOW, "filter"): window((PASSED, 3))}, now_minute=NOW, minutes=1)["processors"]["filter"]["per_second"] == 0.0
    assert volumes({}, now_minute=NOW, minutes=1) == {"minutes": [NOW * 60_000], "series": [], "processors": {}}
