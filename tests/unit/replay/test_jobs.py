"""Jobs, and what stands about them in their topic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.board import Board, Wanted, done_record, hold_record, job_record, reset_record, wanted_record
from pipeline.replay.jobs import Command, CommandRefused, Job, State, after

JOB = Job("enriched", 1000, 2000, {0: (5, 15), 1: (7, 7)}, events=("A", "B"), destinations=("crm",), created_ms=3000)
COMMANDS = st.sampled_from(["pause", "resume", "cancel"])


def board(*records: tuple[bytes, bytes | None]) -> Board:
    """Fold records."""
    found = Board()
    for key, value in records:
        found.take(key, value)
    return found


def test_a_job_survives_writing() -> None:
    """What is read is what was written."""
    assert [JOB] == list(board(job_record(JOB)).jobs.values())


def test_the_same_asked_for_twice_is_one_job() -> None:
    """Its name is what it does; when, how fast and in which order that was said does not matter."""
    assert JOB.id == replace(JOB, rate=1.0, created_ms=9, events=("B", "A"), spans={}).id
    assert JOB.id != replace(JOB, events=("A",)).id
    assert JOB.id != replace(JOB, destinations=(), storages=("crm",)).id


def test_what_is_left_counts_what_was_not_read() -> None:
    """A partition that was not begun counts whole, one that went beyond its end not below 0."""
    assert (10, 10, 3, 0) == (JOB.offsets, JOB.left({}), JOB.left({0: 12}), JOB.left({0: 99, 1: 3}))


@given(st.lists(COMMANDS))
def test_what_has_ended_stays_so(commands: list[Command]) -> None:
    """Pausing and resuming lead back and forth, cancelling only there, and a job that is done takes nothing more."""
    state: State = "running"
    for command in commands:
        if state == "cancelled" and command != "cancel":
            with pytest.raises(CommandRefused):
                after(state, command)
            continue
        state = after(state, command)
        assert state == {"pause": "paused", "resume": "running", "cancel": "cancelled"}[command]
    for command in commands:
        with pytest.raises(CommandRefused):
            after("done", command)


@given(st.lists(st.sampled_from(["running", "paused", "cancelled", "done"]), max_size=8))
def test_the_topic_says_the_same_compacted(words: list[str]) -> None:
    """What an end is does not depend on when it is read: each key's last value gives the same state, as commands are refused by the state before."""
    records: list[tuple[bytes, bytes | None]] = [job_record(JOB)]
    for at, word in enumerate(words):
        before = board(*records).state(JOB.id)
        if word == "done":
            if before == "running":
                records.append(done_record(JOB.id, at))
        elif before not in ("done", "cancelled"):
            wanted: Wanted = "paused" if word == "paused" else "cancelled" if word == "cancelled" else "running"
            records.append(wanted_record(JOB.id, wanted, at))
    whole, compacted = board(*records), board(*dict(records).items())
    assert whole.state(JOB.id) == compacted.state(JOB.id)
    assert whole.running() == compacted.running()


def test_a_hold_ends_by_itself() -> None:
    """A group is held back until it is let go, or its time is over."""
    found = board(hold_record("filter", 100), hold_record("lake.lake", 200))
    assert {"filter", "lake.lake"} == found.held(99)
    assert {"lake.lake"} == found.held(100)
    found.take(*hold_record("lake.lake", None))
    assert {"filter"} == found.held(0)


def test_resets_are_kept_for_the_accounts() -> None:
    """Each of them, by group."""
    assert {"lake.lake": [1, 2]} == board(reset_record("lake.lake", 1), reset_record("lake.lake", 2)).resets


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"job/x", b"{}"),
        (b"job/x", b"nonsense"),
        (b"job/00000000", job_record(JOB)[1]),
        (b"wanted/x", b'{"state":"flying"}'),
        (b"x", b"1"),
    ],
)
def test_what_is_none_of_ours_changes_nothing(key: bytes | None, value: bytes) -> None:
    """It is passed over, not believed."""
    found = Board()
    assert not found.take(key, value)
    assert not found.jobs
