"""What processes say of themselves is put together."""

from __future__ import annotations

from typing import Any

from pipeline.app.live import Halt, Standing, standing


def a_group(name: str, **other: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Describe a member as a process does."""
    return {"group": name, "lag": 0, "stopped": False, "trouble": "", **other}


def test_only_what_does_not_flow_is_a_halt() -> None:
    """A member with another trouble is no halt, nor is a destination that takes requests."""
    said = standing(
        [
            {"groups": [a_group("validate", lag=3), a_group("enrich", stopped=True, trouble="it crashed")]},
            {"groups": [a_group("filter", trouble="there is no topic")], "destinations": [{"destination": "crm", "state": "open", "reason": ""}]},
            {"destinations": [{"destination": "mail", "state": "disabled", "reason": "gone"}]},
        ]
    )
    assert said == Standing(
        {"validate": 3, "enrich": 0, "filter": 0},
        {"enrich": Halt("stopped", "", "it crashed", "headrace apply")},
        {"mail": Halt("disabled", "gone", "", "headrace destination resume mail")},
    )


def test_a_process_of_an_older_release_says_nothing_of_it() -> None:
    """Its pages lack what was added since."""
    assert Standing({"lake": 1}) == standing([{"groups": [{"group": "lake", "lag": 1}]}, {}])
