"""What is progress, and what is none."""

from __future__ import annotations

from pipeline.runtime.progress import Place, Progress

WORK = Place((5, 0, -1), has_work=True)


def looks(*places: Place | None) -> list[float]:
    """Look at places, ten seconds apart."""
    progress = Progress()
    return [progress.look(10.0 * turn, place) for turn, place in enumerate(places)]


def test_standing_still_is_counted_from_the_first_look() -> None:
    """The seconds of all looks that found the same place add up."""
    assert [0, 10, 20] == looks(WORK, WORK, WORK)


def test_whatever_grows_is_progress() -> None:
    """An offset, a record of the state or a fetched position that is further begins anew."""
    assert [0, 10, 0, 10, 0] == looks(WORK, WORK, WORK._replace(moved=(6, 0, -1)), WORK._replace(moved=(6, 0, -1)), WORK._replace(moved=(6, 1, -1)))


def test_going_back_is_no_progress() -> None:
    """A worker that is opened again and gets as far as before has not moved."""
    again = WORK._replace(moved=(-1, 0, -1))
    assert [0, 10, 20, 30] == looks(WORK, again, WORK, again)


def test_waiting_on_purpose_and_idling_do_not_count() -> None:
    """The time begins anew after a wait, after nothing to do, and after a broker that did not answer."""
    waiting = WORK._replace(waits_for="a tool")
    idle = WORK._replace(has_work=False)
    assert [0, 10, 0, 0, 10] == looks(WORK, WORK, waiting, WORK, WORK)
    assert [0, 10, 0, 0, 10] == looks(WORK, WORK, idle, WORK, WORK)
    assert [0, 10, 0, 0, 10] == looks(WORK, WORK, None, WORK, WORK)
