"""Filling gaps in a context without mixing two things."""

from typing import Any

import pytest

from pipeline.enrich.fill import fill

FACTS = {"name": "iOS", "version": "17.4"}


@pytest.mark.parametrize("context", [{}, {"os": None}, {"os": {}}, {"os": {"name": None}}, {"os": {"name": "", "version": ""}}])
def test_absent_facts_are_added(context: dict[str, Any]) -> None:
    """Facts are added where the group or its members are missing, null or empty."""
    fill(context, "os", FACTS)

    assert {"os": FACTS} == context


def test_an_agreeing_group_is_completed() -> None:
    """A client's group that agrees, but for letter case, keeps its values and gets the missing ones."""
    context: dict[str, Any] = {"os": {"name": "ios", "theme": "dark"}}

    fill(context, "os", FACTS)

    assert {"os": {"name": "ios", "theme": "dark", "version": "17.4"}} == context


@pytest.mark.parametrize("own", [{"name": "Windows"}, {"name": 7}, {"version": "16"}, "iOS", 3, ["iOS"], True])
def test_a_contradicting_group_is_left_as_it_came(own: object) -> None:
    """A group that names something else, or is no group at all, gets nothing of ours."""
    context: dict[str, Any] = {"os": own}

    fill(context, "os", FACTS)

    assert {"os": own} == context


def test_facts_are_copied() -> None:
    """Changing one event's group changes neither the facts nor another event."""
    facts = {"name": "iOS"}
    context: dict[str, Any] = {}

    fill(context, "os", facts)
    context["os"]["name"] = "changed"

    assert {"name": "iOS"} == facts
