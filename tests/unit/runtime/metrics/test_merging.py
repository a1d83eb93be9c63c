"""The metrics of several workers in one text."""

from pipeline.runtime.metrics.merging import merged

FIRST = b'# HELP a_total Sum.\n# TYPE a_total counter\na_total{x="{ }"} 1.0\n# HELP b Now.\n# TYPE b gauge\nb 2.0\n'
SECOND = b'# HELP a_total Sum.\n# TYPE a_total counter\na_total{x="y"} 5.0\n'


def test_samples_get_their_worker_and_stay_with_their_metric() -> None:
    """Each metric is described once, all of its samples follow, and who does not answer is said to be away."""
    lines = merged({1: FIRST, 2: SECOND, 3: None}).decode().splitlines()
    assert lines[1:] == [
        "# TYPE headrace_worker_up gauge",
        'headrace_worker_up{worker="1"} 1.0',
        'headrace_worker_up{worker="2"} 1.0',
        'headrace_worker_up{worker="3"} 0.0',
        "# HELP a_total Sum.",
        "# TYPE a_total counter",
        'a_total{worker="1",x="{ }"} 1.0',
        'a_total{worker="2",x="y"} 5.0',
        "# HELP b Now.",
        "# TYPE b gauge",
        'b{worker="1"} 2.0',
    ]
