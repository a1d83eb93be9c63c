"""What is run again is what is stored, for events of the demo shop and every odd one."""

from pathlib import Path

import pytest

from pipeline.resources import resource
from pipeline.testing import Driver
from tests.topologies.traffic import SECRETS, WORKSPACE, odd, shop
from tests.unit.app.explain.asked import body_of, explain

TOPOLOGIES = [resource("topologies") / f"{name}.yaml" for name in ("default", "fused")]
MISTAKES = (b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"type":"track"}', b'{"type":"identify","userId":""}', b"[" * 3000)


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda path: path.stem)
def test_everything_that_is_stored_is_computed_again(topology: Path) -> None:
    """Every event that was let through, and every dead letter by its place, is explained, and nothing differs."""
    with Driver(topology, WORKSPACE, secrets=SECRETS) as driver:
        for number, body in enumerate([*shop(60), *odd()]):
            driver.send(body, source="app" if number % 7 == 0 else "web")
        for number, value in enumerate(MISTAKES):
            driver.write("raw", b"mistake-%d" % number, value, {"source": b"web"})
        driver.run_until_idle()
        driver.advance(1)
        ids = sorted({body_of(record.value)["messageId"] for record in driver.read("routed")})
        assert len(ids) > 50
        for message_id in ids:
            explained = explain(driver, message_id)
            assert explained.found, message_id
            assert explained.same, explained
            written = [one.compared for one in explained.stages if one.place is not None and one.step != "collector"]
            assert {"same"} == set(written), explained
            assert {"same"} == {one.compared for target in explained.targets for one in target.mappings if one.place is not None} | {"same"}
        letters = [f"dead.validate/{record.partition}/{record.offset}" for record in driver.read("dead.validate")]
        assert len(letters) >= len(MISTAKES)
        for place in letters:
            explained = explain(driver, place)
            assert ("dead", "same", True) == (explained.stages[-1].verdict, explained.stages[-1].compared, explained.same), (place, explained)
