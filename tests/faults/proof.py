"""Shows that a test can fail: a scenario whose laws hold on the product, and one of which does not on each deliberately broken build."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tests.faults.laws import Verdict, hold
from tests.faults.report import Row

Scenario = Callable[[str], Awaitable[Sequence[Verdict]]]
"""Given the name of a broken build, or nothing for the product, gives what the laws say."""


async def prove(row: Row, scenario: Scenario, broken: Sequence[str] = ()) -> None:
    """Run a scenario on the product, which must hold the laws, and on broken builds, which must not.

    Args:
        row: Gets the counts of the laws, and which broken builds were caught.
        scenario: What is done.
        broken: Names of broken builds.

    Raises:
        AssertionError: The product breaks a law, or a broken build breaks none.
    """
    verdicts = await scenario("")
    note(row, verdicts)
    hold(verdicts)
    for name in broken:
        noticed = await _noticed(scenario, name)
        row.caught[name] = bool(noticed)
        print(f"broken build {name}: {f'caught, {noticed}' if noticed else 'NOT CAUGHT'}")
    assert all(row.caught.values()), f"a broken build passes: {row.caught}"


def note(row: Row, verdicts: Sequence[Verdict]) -> None:
    """Add the counts of the laws to a row."""
    for verdict in verdicts:
        count = len(verdict.violations)
        if verdict.law.startswith("L1 "):
            row.events = (row.events or 0) + verdict.checked
            row.lost = (row.lost or 0) + count
        elif verdict.law.startswith("L2 "):
            row.doubled = (row.doubled or 0) + count
        elif verdict.law.startswith("L4 "):
            row.disordered = (row.disordered or 0) + count


async def _noticed(scenario: Scenario, name: str) -> str:
    """Say what a broken build was noticed by; empty where by nothing."""
    try:
        verdicts = await scenario(name)
    except TimeoutError:
        return "it did not come to its end in time"
    except AssertionError as error:
        return str(error).split("\n")[0] or "an assertion"
    return "; ".join(str(verdict) for verdict in verdicts if verdict.violations)
