"""Token buckets: how much goes through, and how long one waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import refusals
from pipeline.ingest.rates import Bucket, default_burst, limited, taken

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=40)


def test_a_bucket_fills_with_time() -> None:
    """Ten a second: after a burst of twenty one waits a tenth of a second for the next."""
    bucket, wait = taken(Bucket(20, 0.0), 10, 20, 0.0, 20)
    assert (bucket, wait) == (Bucket(0, 0.0), 0.0)
    assert taken(bucket, 10, 20, 0.0, 1) == (Bucket(0, 0.0), 0.1)
    assert taken(bucket, 10, 20, 0.1, 1) == (Bucket(0, 0.1), 0.0)


def test_a_batch_larger_than_the_bucket_passes_and_is_waited_for() -> None:
    """A hundred events out of a bucket of twenty, and then nothing for eight seconds."""
    bucket, wait = taken(Bucket(20, 0.0), 10, 20, 0.0, 100)
    assert (bucket.tokens, wait) == (-80, 0.0)
    assert taken(bucket, 10, 20, 0.0, 1)[1] == 8.1


@given(rate=st.floats(0.1, 100), burst=st.integers(1, 100), steps=STEPS)
def test_no_more_passes_than_the_rate_and_one_burst(rate: float, burst: int, steps: list[tuple[float, int]]) -> None:
    """Whatever comes, what passed before the last batch is never more than the burst and the rate allow."""
    bucket, now, passed, last = Bucket(burst, 0.0), 0.0, 0, 0
    for pause, events in steps:
        now += pause
        bucket, wait = taken(bucket, rate, burst, now, events)
        if not wait:
            passed, last = passed + events, events
    assert passed - last <= burst + rate * now + 1e-6


@given(rate=st.floats(0.1, 100), tokens=st.floats(-100, 0.99))
def test_who_waits_as_told_gets_through(rate: float, tokens: float) -> None:
    """After the wait the next event may come."""
    bucket, wait = taken(Bucket(tokens, 0.0), rate, 100, 0.0, 1)
    assert wait > 0
    assert taken(bucket, rate, 100, wait * 1.000001 + 1e-9, 1)[1] == 0


def test_waits_are_small_whole_seconds() -> None:
    """SDKs read integers and cut them at 300."""
    waits = [limited(refusals.RATE_LIMITED, seconds, "web").retry_after for seconds in (0.01, 1.2, 9000.0)]
    assert waits == [1, 2, 300]
    assert limited(refusals.RATE_LIMITED, 1, "web").source == "web"


def test_a_slow_rate_still_lets_one_through() -> None:
    """One event in ten seconds has a bucket of one."""
    assert (default_burst(0.1), default_burst(1000)) == (1, 2000)
