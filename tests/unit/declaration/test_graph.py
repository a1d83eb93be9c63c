"""The drawn topologies are golden files, so that a review sees a changed shape. To renew one: `headrace topology show NAME > FILE`."""

from pathlib import Path

import pytest

from pipeline.declaration import describe, load_topology, mermaid
from pipeline.resources import resource
from tests.unit.declaration.cases import TOPOLOGY_RULES

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["default", "fused"])
def test_the_topologies_look_as_they_did(name: str) -> None:
    """Text and Mermaid of each are what the golden files say."""
    topology = load_topology((resource("topologies") / f"{name}.yaml").read_text(), f"{name}.yaml", TOPOLOGY_RULES)
    assert (GOLDEN / f"{name}.txt").read_text() == describe(topology)
    assert (GOLDEN / f"{name}.mmd").read_text() == mermaid(topology)
