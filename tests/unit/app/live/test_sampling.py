"""Which events are looked at when there are too many."""

from pipeline.app.live.sampling import Sampling


def at_rate(sampling: Sampling, per_second: int, second: int) -> None:
    """Let so many events arrive in each of three seconds, and choose anew after them."""
    for each in range(second, second + 3):
        sampling.arrived(each * 1000, per_second)
    sampling.pace((second + 3) * 1000)


def test_everything_at_a_rate_that_a_person_can_read() -> None:
    """Below the mark every event is looked at."""
    sampling = Sampling(300)
    at_rate(sampling, 300, 10)
    assert 1 == sampling.one_in
    assert all(sampling.takes(b"%d" % number) for number in range(100))


def test_share_follows_the_rate_up_and_down() -> None:
    """The share shrinks at once and grows only well below the mark, so that it does not swing."""
    sampling = Sampling(300)
    at_rate(sampling, 1000, 10)
    assert 4 == sampling.one_in
    at_rate(sampling, 500, 20)
    assert 4 == sampling.one_in
    at_rate(sampling, 100, 30)
    assert 1 == sampling.one_in


def test_a_key_is_taken_everywhere_or_nowhere() -> None:
    """The narrower choice lies in the wider one, about the wanted part of keys is taken, and the page's own events always are."""
    wide, narrow = Sampling(), Sampling()
    wide.one_in, narrow.one_in = 4, 16
    keys = [b"user-%d" % number for number in range(4000)]
    taken = [key for key in keys if wide.takes(key)]
    assert 800 < len(taken) < 1200
    assert {key for key in keys if narrow.takes(key)} < set(taken)
    assert narrow.takes(b"headrace-live-12345678")
    assert narrow.takes(None)
