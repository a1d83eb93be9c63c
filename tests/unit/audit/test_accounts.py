"""The sums of the ledger, and the chains of offsets."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.accounts import Accounts, Chain, Jump, Transaction, read_transaction
from pipeline.model.ledger import Row, Tally, ledger_value


def _transaction(start: int, end: int, taken: int, rows: list[tuple[str, str, int]], **lanes: int) -> Transaction:
    return Transaction(
        "validate", "raw", 0, start, end, taken, lanes, [("web", "track", "Tick", verdict, reason, "", count) for verdict, reason, count in rows]
    )


def test_what_the_ledger_writes_is_read() -> None:
    """A value of the ledger's writer comes back with its offsets, lanes and rows."""
    tally = Tally()
    tally.rows[Row("web", "track", "Tick", "passed")] += 2
    tally.rows[Row("web", "track", "Tick", "dropped", "duplicate")] += 1
    tally.lanes["main"] += 2
    value = ledger_value(tally, processor="validate", topic="raw", partition=3, start=5, end=8, at_ms=1)
    rows = [("web", "track", "Tick", "passed", "", "", 2), ("web", "track", "Tick", "dropped", "duplicate", "", 1)]
    assert read_transaction(value) == Transaction("validate", "raw", 3, 5, 8, 3, {"main": 2}, rows)
    value = ledger_value(Tally(), processor="validate", topic="raw", partition=3, start=9, end=9, at_ms=1, expired=(8, 9))
    assert read_transaction(value) == Transaction("validate", "raw", 3, 9, 9, 0, {}, [], (8, 9))


def test_what_is_none_of_the_ledger_is_left_out() -> None:
    """A tombstone, text, another object and a row that is too short give nothing."""
    row = {"processor": "p", "topic": "t", "partition": 0, "from": 0, "to": 1, "in": 1, "lanes": {}, "rows": [["web"]]}
    assert [read_transaction(value) for value in (None, b"x", b"[]", b"{}", orjson.dumps(row))] == [None] * 5


def test_inputs_are_added_up_by_how_they_ended() -> None:
    """10 inputs: 6 passed, 2 duplicates, 1 dead, 1 blocked; a destination that an event does not go to ends nothing."""
    accounts = Accounts()
    accounts.add(_transaction(0, 7, 7, [("passed", "", 5), ("dropped", "duplicate", 2), ("withheld", "no_consent", 4)], main=5))
    accounts.add(_transaction(7, 10, 3, [("passed", "", 1), ("dead", "invalid_json", 1), ("blocked", "unplanned_event", 1)], main=1, dead=1))
    account = accounts.processors["validate"]
    assert (account.taken, account.passed, account.residue) == (10, 6, 0)
    assert account.ends == {"dropped": {"duplicate": 2}, "dead": {"invalid_json": 1}, "blocked": {"unplanned_event": 1}}
    assert account.lanes == {"main": 6, "dead": 1}


def test_an_input_without_an_end_is_a_residue() -> None:
    """3 in, but rows for 2 of them."""
    accounts = Accounts()
    accounts.add(_transaction(0, 3, 3, [("passed", "", 2)]))
    assert accounts.processors["validate"].residue == 1


def test_offsets_between_two_transactions_are_a_gap() -> None:
    """0 to 4 and 6 to 9 leave 5 out."""
    chain = Chain(0)
    chain.add(0, 5, 5)
    chain.add(6, 10, 4)
    assert (chain.gaps, chain.jumps, chain.end, chain.taken) == ([(5, 6)], [], 10, 9)


def test_a_transaction_that_repeats_the_one_before_is_counted_twice() -> None:
    """5 to 9 a second time is what exactly-once forbids."""
    chain = Chain(0)
    for start, end in ((0, 5), (5, 10), (5, 10), (10, 15)):
        chain.add(start, end, end - start)
    assert chain.jumps == [Jump(5, 10, 5, None, twice=True)]


def test_a_group_that_was_set_back_reads_again() -> None:
    """From 15 back to 0: 15 offsets again in three transactions, the last of which goes on to new ones; a gap that is filled is none any more."""
    chain = Chain(0)
    for start, end in ((0, 5), (6, 10), (10, 15), (0, 8), (8, 12), (12, 20), (20, 21)):
        chain.add(start, end, end - start)
    assert chain.jumps == [Jump(0, 15, 12, (12, 15), twice=False)]
    assert (chain.gaps, chain.end) == ([], 21)


def test_what_retention_took_is_lost_and_no_gap() -> None:
    """5 to 7 are gone when it goes on at 8: a loss, and no gap where something might have lain."""
    chain = Chain(0)
    chain.add(0, 5, 5)
    chain.expire(5, 8)
    chain.add(8, 8, 0)
    chain.add(8, 10, 2)
    assert (chain.expired, chain.gaps, chain.jumps, chain.end) == ([(5, 8)], [], [], 10)


def test_what_was_taken_before_a_group_was_set_back_is_not_lost() -> None:
    """Taken to 10, set back to 2, and 2 to 11 are gone: only 10 and 11 were never taken."""
    chain = Chain(0)
    chain.add(0, 10, 10)
    chain.expire(2, 12)
    assert (chain.expired, chain.end) == ([(10, 12)], 12)


def test_a_group_that_was_set_back_goes_on_behind_what_is_gone() -> None:
    """Taken to 10, set back to 2, and 2 and 3 are gone: 4 to 9 are read again, and nothing is counted twice or lost."""
    chain = Chain(0)
    chain.add(0, 10, 10)
    chain.expire(2, 4)
    chain.add(4, 4, 0)
    chain.add(4, 10, 6)
    assert (chain.expired, chain.jumps) == ([], [Jump(2, 10, 6, None, twice=False)])


def test_deliver_ends_requests_before_the_offset_moves_on() -> None:
    """Transactions that end inputs but move no offset are no gap and no jump."""
    chain = Chain(4)
    for start, end, taken in ((4, 4, 3), (4, 9, 2), (9, 9, 0), (9, 10, 1)):
        chain.add(start, end, taken)
    assert (chain.gaps, chain.jumps, chain.taken, chain.start, chain.end) == ([], [], 6, 4, 10)


@given(st.integers(0, 100), st.lists(st.integers(1, 9), min_size=1))
def test_however_inputs_are_cut_into_transactions_nothing_is_found(first: int, sizes: list[int]) -> None:
    """Transactions that follow each other leave no gap and take nothing twice."""
    chain = Chain(first)
    start = first
    for size in sizes:
        chain.add(start, start + size, size)
        start += size
    assert (chain.gaps, chain.jumps, chain.end - chain.start) == ([], [], sum(sizes))
    assert chain.taken == sum(sizes)


def test_a_group_that_was_set_back_on_purpose_counts_nothing_twice() -> None:
    """A first transaction done again looks like one that was counted twice, unless somebody is known to have asked for it."""
    accounts = Accounts({"lake.lake": [15]})
    transaction = Transaction("lake.lake", "routed", 0, 0, 5, 5, {}, [("", "", "", "passed", "", "", 5)])
    for at in (10, 20):
        accounts.add(transaction, at)
    ((_, chain),) = accounts.chains_of("lake.lake", "routed")
    assert [False] == [jump.twice for jump in chain.jumps]
    accounts.add(transaction, 30)
    assert chain.jumps[-1].twice
