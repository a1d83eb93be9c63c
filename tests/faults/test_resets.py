"""The past once more, on a whole run with a lake and two tools: groups set to their beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.past import Past, fails, past
from tests.faults.report import Row
from tests.faults.sent import read_sent

pytestmark = [pytest.mark.integration, pytest.mark.faults]

GROUPS = ("lake.lake", "translate.crm", "translate.orders", "validate")
LIVE_SECONDS = 15.0


async def _reset_all(one: Past) -> None:
    """Set the first group and those of tools and lake to the beginning of their topics: nothing is new to anybody."""
    before = await one.rest()
    sent = read_sent([one.path])
    assert sent.acknowledged <= before.rows.keys()
    for group in GROUPS:
        await one.ask("offsets", "reset", group, "--to", "earliest", "--yes")
        after = await one.rest()
        assert before.lake == after.lake, group
        assert before.rows == after.rows, group
        assert before.accepted == after.accepted, group
        assert before.validated == after.validated, group


@pytest.mark.fault("T20")
async def test_groups_that_begin_anew_change_nothing(tmp_path: Path, row: Row) -> None:
    """Each group is set to the beginning: the lake is the same row for row, tools know each id, and nothing comes out of dedup again."""
    with past(tmp_path / "product") as one:
        await one.send(LIVE_SECONDS)
        await _reset_all(one)
        effects = await one.effects()
        row.kills, row.events, row.lost = len(GROUPS), len(effects.rows), 0
        row.doubled = sum(count > 1 for count in effects.rows.values())
        repeats = {tool: one.run.receiver.accepted(tool).total() - len(ids) for tool, ids in effects.accepted.items()}
        row.figures = f"{len(GROUPS)} groups set to the beginning; rows {effects.rows.total()}; repeats with known ids at the tools {repeats}"
    with past(tmp_path / "ids_anew", "ids_anew") as one:
        await one.send(3)
        row.caught["ids_anew"] = await fails(_reset_all(one))
    assert row.caught["ids_anew"]
