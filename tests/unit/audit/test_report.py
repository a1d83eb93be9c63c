"""The residue: of processors, of arrows, of chains, and what is no residue."""

from collections.abc import Iterable, Mapping
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.accounts import Accounts, Transaction
from pipeline.audit.report import END, Finding, Place, Report, Span, questions, report
from pipeline.model.topology import Processor, Topology

TOPOLOGY = Topology(
    "small",
    {
        one.name: one
        for one in (
            Processor("validate", "raw", lanes={"main": "validated", "raw": "raw", "dead": "dead.{stage}"}),
            Processor("translate", "validated", lanes={"requests": "requests.{destination}"}, for_each="destination"),
            Processor("deliver", "requests.{destination}", "deliver", lanes={"retry": "retry.{delay}"}, for_each="destination"),
            Processor("retry", "retry.{delay}", "retry", lanes={"due": "requests.{destination}.retry"}),
        )
    },
    partitions=1,
)
READERS = {
    "validate": ["raw"],
    "translate.crm": ["validated"],
    "deliver.crm": ["requests.crm", "requests.crm.retry"],
    "retry": ["retry.10s"],
}


def _did(processor: str, topic: str, start: int, end: int, taken: int | None = None, ended: str = "passed", **lanes: int) -> Transaction:
    count = end - start if taken is None else taken
    reason = "" if ended == "passed" else "a_reason"
    return Transaction(processor, topic, 0, start, end, count, lanes, [("web", "track", "Tick", ended, reason, "crm", count)] if count else [])


def _report(
    done: Iterable[Transaction], lying: Mapping[str, Iterable[int]], lags: Mapping[Place, int] | None = None, *, whole: bool = True
) -> Report:
    """Audit transactions; `lying` says which offsets of a topic hold committed records, `lags` what is not committed."""
    accounts = Accounts()
    for one in done:
        accounts.add(one)
    counted = {
        span: sum(span.start <= offset < span.end for offset in lying.get(span.topic, ()))
        for span in questions(accounts, TOPOLOGY, READERS, whole=whole)
    }
    return report(accounts, TOPOLOGY, READERS, counted, lags or {}, whole=whole)


def _arrows(found: Report) -> dict[str, tuple[int | None, int, int, int]]:
    return {one.arrow.name: (one.arrow.written, one.taken, one.under_way, one.residue) for one in found.balances}


GOOD = (
    _did("validate", "raw", 0, 6, main=6),
    _did("translate.crm", "validated", 0, 4, requests=4),
    _did("translate.crm", "validated", 5, 7, requests=2),  # 4 is a transaction marker
    _did("deliver.crm", "requests.crm", 0, 6, retry=2),
    _did("retry", "retry.10s", 0, 2, requests=2),
    _did("deliver.crm", "requests.crm.retry", 0, 2),
)
LYING = {
    "raw": range(6),
    "validated": [0, 1, 2, 3, 5, 6],
    "requests.crm": range(6),
    "retry.10s": range(2),
    "requests.crm.retry": range(2),
}


def test_a_run_that_is_done_leaves_nothing() -> None:
    """6 events, 2 of them retried once: every arrow carries what was written."""
    found = _report(GOOD, LYING)
    assert _arrows(found) == {
        "raw → validate": (None, 6, 0, 0),
        "validate main → translate.crm": (6, 6, 0, 0),
        "translate.crm requests → deliver.crm": (6, 6, 0, 0),
        "deliver.crm retry → retry → deliver.crm": (2, 2, 0, 0),
    }
    assert (found.findings, found.residue) == ((), 0)


@given(st.permutations(range(len(GOOD))))
def test_the_order_between_processors_does_not_matter(order: list[int]) -> None:
    """Only transactions of one partition have an order; those of others come when they come."""
    first, second = sorted((order.index(1), order.index(2)))
    order[first], order[second] = 1, 2
    found = _report([GOOD[place] for place in order], LYING)
    assert (found.balances, found.findings, found.residue) == (_report(GOOD, LYING).balances, (), 0)


def test_what_has_not_been_read_is_under_way() -> None:
    """Translate has not come to the last 2, and deliver has not begun: they lie there, so nothing is missing."""
    found = _report(GOOD[:2], LYING)
    assert _arrows(found)["validate main → translate.crm"] == (6, 4, 2, 0)
    assert _arrows(found)["translate.crm requests → deliver.crm"] == (4, 0, 4, 0)
    assert found.residue == 0


def test_what_is_committed_without_a_word_in_the_ledger_is_lost() -> None:
    """Nothing lags but one transaction marker, so the last 2 that translate has no transaction for are not under way."""
    found = _report([*GOOD[:2], *GOOD[3:]], LYING, {("translate.crm", "validated", 0): 1})
    assert _arrows(found)["validate main → translate.crm"] == (6, 4, 1, 1)
    assert _arrows(_report(GOOD[1:], LYING, {("validate", "raw", 0): 4}))["raw → validate"] == (None, 0, 4, 2)


def test_what_was_written_and_is_nowhere_is_lost() -> None:
    """Validate wrote 7, the topic holds 6: one is gone, and that is said of this arrow alone."""
    found = _report([_did("validate", "raw", 0, 7, main=7), *GOOD[1:]], {**LYING, "raw": range(7)})
    assert _arrows(found)["validate main → translate.crm"] == (7, 6, 0, 1)
    assert found.residue == 1


def test_a_record_that_no_transaction_took_is_unaccounted() -> None:
    """Offset 4 of validated is a record now, not a marker: the chain and the arrow miss the same one, which counts once."""
    found = _report([_did("validate", "raw", 0, 7, main=7), *GOOD[1:]], {**LYING, "raw": range(7), "validated": range(7)})
    assert found.findings == (Finding("translate.crm", Span("validated", 0, 4, 5), "unaccounted input", 1),)
    assert found.residue == 1


def test_raw_has_no_writer_in_the_ledger_and_its_chain_is_checked() -> None:
    """A transaction that took 6 offsets of raw but ended 5 inputs, where 6 records lie, leaves one."""
    found = _report([_did("validate", "raw", 0, 6, 5, main=6), *GOOD[1:]], LYING)
    assert found.findings == (Finding("validate", Span("raw", 0, 0, 6), "unaccounted input", 1),)
    assert found.residue == 1


def test_a_transaction_done_twice_is_a_residue() -> None:
    """Deliver took offsets 0 to 5 two times: 6 more than were written."""
    found = _report([*GOOD, _did("deliver.crm", "requests.crm", 0, 6)], LYING)
    assert found.findings == (Finding("deliver.crm", Span("requests.crm", 0, 0, 6), "counted twice", 6),)
    assert _arrows(found)["translate.crm requests → deliver.crm"] == (6, 12, 0, -6)
    assert found.residue == 6


def test_a_group_that_was_set_back_is_no_residue() -> None:
    """Translate read everything again, and went on to one that is new; it made 7 more requests, which were delivered."""
    more = (
        _did("validate", "raw", 6, 7, main=1),
        _did("translate.crm", "validated", 0, 2, requests=2),
        _did("translate.crm", "validated", 2, 8, 5, requests=5),
        _did("deliver.crm", "requests.crm", 6, 13),
    )
    lying = {**LYING, "raw": range(7), "validated": [0, 1, 2, 3, 5, 6, 7], "requests.crm": range(13)}
    found = _report([*GOOD, *more], lying)
    assert found.findings == (Finding("translate.crm", Span("validated", 0, 0, 7), "read again", 6),)
    assert _arrows(found)["validate main → translate.crm"] == (7, 7, 0, 0)
    assert found.residue == 0


def test_a_wait_that_retry_hands_on_to_itself_is_not_lost() -> None:
    """One request went through retry twice, and one ended there because its destination is gone."""
    done = (
        *GOOD[:3],
        _did("deliver.crm", "requests.crm", 0, 6, retry=3),
        _did("retry", "retry.10s", 0, 3, requests=3),
        _did("retry", "retry.10s", 3, 4, 1, "dead", dead=1),
        _did("deliver.crm", "requests.crm.retry", 0, 2),
    )
    found = _report(done, {**LYING, "retry.10s": range(4)})
    assert _arrows(found)["deliver.crm retry → retry → deliver.crm"] == (3, 3, 0, 0)
    assert found.residue == 0


def test_a_part_of_the_ledger_judges_no_arrow() -> None:
    """Without its beginning more was read than written; the chains still count."""
    found = _report(GOOD[1:], {**LYING, "validated": range(7)}, whole=False)
    assert _arrows(found)["validate main → translate.crm"] == (0, 6, 0, 0)
    assert [(one.kind, one.records) for one in found.findings] == [("unaccounted input", 1)]
    assert found.residue == 1


def test_what_a_topic_no_longer_keeps_is_no_loss() -> None:
    """Counts of 0 from topics whose retention is over say nothing."""
    assert _report(GOOD, {}).residue == 0


def test_only_what_the_ledger_leaves_open_is_read() -> None:
    """Where a chain ends as many inputs as it has offsets, no record is read but those ahead of it."""
    accounts = Accounts()
    accounts.add(GOOD[0])
    ahead = partial(Span, partition=0, start=0, end=END)
    assert questions(accounts, TOPOLOGY, READERS, whole=False) == set()
    assert questions(accounts, TOPOLOGY, READERS, whole=True) == {
        Span("raw", 0, 6, END),
        *(ahead(topic) for topic in ("validated", "requests.crm", "requests.crm.retry", "retry.10s")),
    }


def test_one_translate_for_all_destinations_is_held_against_all_of_deliver() -> None:
    """Its ledger says how many requests it wrote, not for whom: 5 = 3 for crm + 2 for orders."""
    fused = Topology(
        "fused",
        {
            "translate": Processor("translate", "routed", lanes={"requests": "requests.{destination}"}),
            "deliver": TOPOLOGY.processors["deliver"],
        },
        partitions=1,
    )
    readers = {
        "translate": ["routed"],
        "deliver.crm": ["requests.crm", "requests.crm.retry"],
        "deliver.orders": ["requests.orders", "requests.orders.retry"],
    }
    accounts = Accounts()
    for one in (
        _did("translate", "routed", 0, 3, requests=5),
        _did("deliver.crm", "requests.crm", 0, 3),
        _did("deliver.orders", "requests.orders", 0, 2),
    ):
        accounts.add(one)
    found = report(accounts, fused, readers, {}, {}, whole=True)
    assert _arrows(found) == {"routed → translate": (None, 3, 0, 0), "translate requests → deliver.*": (5, 5, 0, 0)}
    assert found.residue == 0


def _lost(processor: str, topic: str, start: int, end: int) -> Transaction:
    return Transaction(processor, topic, 0, end, end, 0, {}, [], (start, end))


def test_what_retention_took_is_named_and_no_residue() -> None:
    """Of 6 events translate took 2, and 2 to 4 are gone, a marker among them: 2 records expired on the arrow, 2 are taken after."""
    done = (
        _did("validate", "raw", 0, 6, main=6),
        _did("translate.crm", "validated", 0, 2, requests=2),
        _lost("translate.crm", "validated", 2, 5),
        _did("translate.crm", "validated", 5, 7, requests=2),
    )
    found = _report(done, {**LYING, "validated": [5, 6], "requests.crm": range(4)})
    assert [one.expired for one in found.balances] == [0, 2, 0, 0]
    assert found.findings == (Finding("translate.crm", Span("validated", 0, 2, 5), "expired", 3),)
    assert (found.expired("translate.crm"), found.expired("validate"), found.residue) == (3, 0, 0)


def test_what_retention_took_of_raw_is_known_by_its_offsets() -> None:
    """Anybody writes to raw, so all that is known is how many offsets are gone."""
    found = _report([_lost("validate", "raw", 0, 4), _did("validate", "raw", 4, 6, main=2)], {"raw": [4, 5], "validated": range(2)})
    assert (found.balances[0].expired, found.findings, found.residue) == (4, (Finding("validate", Span("raw", 0, 0, 4), "expired", 4),), 0)


def test_markers_that_retention_took_are_no_loss() -> None:
    """Where everything that was written was taken, the offset that is gone was a transaction's marker."""
    found = _report([*GOOD, _lost("translate.crm", "validated", 7, 8)], LYING)
    assert (found.findings, [one.expired for one in found.balances], found.residue) == ((), [0, 0, 0, 0], 0)


def test_what_is_missing_beyond_what_expired_is_a_residue() -> None:
    """6 were written and 3 taken; 1 offset is gone: 2 are lost."""
    found = _report(
        [GOOD[0], _did("translate.crm", "validated", 0, 3, requests=3), _lost("translate.crm", "validated", 3, 4)], {"requests.crm": range(3)}
    )
    assert (found.balances[1].expired, found.balances[1].residue, found.residue) == (1, 2, 2)


def test_the_offsets_that_expired_are_exact_for_a_part_of_the_ledger() -> None:
    """Without the beginning of the ledger nobody knows how many of them were records."""
    found = _report([_lost("translate.crm", "validated", 2, 5)], {}, whole=False)
    assert (found.balances[1].expired, found.balances[1].residue, found.residue) == (3, 0, 0)
