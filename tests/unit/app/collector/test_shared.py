"""What several processes behind one port share."""

from __future__ import annotations

from pathlib import Path

from pipeline.app.collector.shared import Shared
from pipeline.model.workspace import Source, Workspace

WORKSPACE = Workspace("shop", version=1, sources={"web": Source("web", ("k",), rate=10, burst=4), "app": Source("app", ("a",), rate=10, burst=4)})


def test_a_rate_holds_for_all_workers_together(tmp_path: Path) -> None:
    """What one takes the other no longer has, whichever is asked; another source has its own; 0.1 s later there is room for one more, anywhere."""
    one, other = [Shared(tmp_path, 2).limits().rates for _ in range(2)]
    web = {("web", "accepted"): 1}
    assert [rates.wait(web, WORKSPACE, 50.0) is None for rates in (one, other, other, one, one, other)] == [True] * 4 + [False] * 2
    assert other.wait({("app", "accepted"): 1}, WORKSPACE, 50.0) is None
    assert [rates.wait(web, WORKSPACE, 50.1) is None for rates in (other, one)] == [True, False]


def test_a_worker_that_comes_back_finds_the_rate_as_it_was(tmp_path: Path) -> None:
    """To die and be started again fills no bucket."""
    web = {("web", "accepted"): 4}
    assert Shared(tmp_path, 2).limits().rates.wait(web, WORKSPACE, 50.0) is None
    assert Shared(tmp_path, 2).limits().rates.wait(web, WORKSPACE, 50.0) is not None


def test_what_an_address_may_guess_is_divided(tmp_path: Path) -> None:
    """Four workers let 25 guesses through each, 100 together."""
    guesses = Shared(tmp_path, 4).limits().guesses
    assert [guesses.wait("192.0.2.1", 1.0) is None for _ in range(26)] == [True] * 25 + [False]


def test_an_assertion_works_once_at_all_workers_together(tmp_path: Path) -> None:
    """Whoever takes it first has it, also where that one was started again since."""
    one, other = [Shared(tmp_path, 2).assertions() for _ in range(2)]
    assert one.claim(b"a", 1_060, 1_000)
    assert not other.claim(b"a", 1_060, 1_000)
    assert not Shared(tmp_path, 2).assertions().claim(b"a", 1_060, 1_000)
    assert other.claim(b"b", 1_060, 1_000)


def test_used_assertions_are_forgotten_once_they_are_over(tmp_path: Path) -> None:
    """A look at most once a minute, and none is forgotten that could still be taken for one that is alive."""
    assertions = Shared(tmp_path, 2).assertions()
    assertions.claim(b"a", 1_060, 1_000)
    assertions.claim(b"b", 4_000, 1_000)
    assertions.claim(b"c", 4_000, 1_121)
    assert {path.name for path in tmp_path.iterdir()} == {"used-62", "used-63"}
