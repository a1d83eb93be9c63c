"""Every topology that comes with the product does what the cases beside it say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.resources import resource
from pipeline.testing.cases import Case, read_cases, run_case

FILES = sorted(resource("topologies").glob("*_test.yaml"))
CASES = [(file.with_name(f"{file.name.removesuffix('_test.yaml')}.yaml"), case) for file in FILES for case in read_cases(file)]


@pytest.mark.parametrize(("topology", "case"), CASES, ids=[f"{topology.stem}: {case.name}" for topology, case in CASES])
def test_case(topology: Path, case: Case) -> None:
    """What comes out is what the case expects."""
    assert "" == "\n".join(run_case(topology, case))


def test_every_topology_has_cases() -> None:
    """Each topology has a file of cases, and each file of cases a topology."""
    names = {file.name.removesuffix("_test.yaml") for file in FILES}
    assert names == {file.stem for file in resource("topologies").glob("*.yaml")} - {file.stem for file in FILES}
