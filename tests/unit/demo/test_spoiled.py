"""Calls that break a rule of the tracking protocol."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from pipeline.demo.spoiled import SPOILERS

CALLS = Path(__file__).resolve().parents[3] / "schemas" / "calls"
LARGEST_EVENT = 32 * 1024


def good_call() -> dict[str, Any]:
    """Read the published example of a track call."""
    call: dict[str, Any] = orjson.loads((CALLS / "examples" / "track.json").read_bytes())
    return call


@pytest.mark.parametrize("rule", sorted(SPOILERS))
def test_a_spoiled_call_breaks_the_contract(rule: str) -> None:
    """A spoiled call is of no known type, or refused by its type's schema, or too large for an event."""
    call = SPOILERS[rule](good_call())
    path = CALLS / f"{call['type']}.json"
    refused = not path.exists() or not jsonschema_rs.validator_for(orjson.loads(path.read_bytes())).is_valid(call)

    assert refused is (rule != "too_large")
    assert (len(orjson.dumps(call)) > LARGEST_EVENT) is (rule == "too_large")


@pytest.mark.parametrize("rule", sorted(SPOILERS))
def test_the_good_call_stays_as_it_was(rule: str) -> None:
    """Spoiling makes a new call and leaves the given one alone."""
    call = good_call()
    SPOILERS[rule](call)

    assert good_call() == call
