"""The picture of a topology shows all of it, stands alone, and takes no name for markup."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pipeline.app.declared import read_topology
from pipeline.declaration import svg
from pipeline.model.topology import Processor, Topology


@pytest.mark.parametrize("name", ["default", "fused"])
def test_it_shows_every_processor_and_topic(name: str) -> None:
    """Every processor and every topic of its lanes stands in the picture, and nothing is drawn over something else."""
    topology = read_topology(name)
    root = ET.fromstring(svg(topology))  # noqa: S314 (our own text)
    shown = "".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))  # long names are broken at a dot
    for processor in topology.processors.values():
        for each in (processor.name, processor.input, *processor.lanes.values()):
            assert each in shown
    places = [(box.get("x"), box.get("y")) for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("x")]
    assert len(places) == len(set(places))


def test_a_name_is_text() -> None:
    """A name with markup in it is shown as it stands, and what the picture needs lies in it."""
    topology = Topology("x<y", {"a": replace(Processor("a<b>", "in&out"), lanes={"main": 'c"d'})})
    text = svg(topology)
    assert "a&lt;b&gt;" in text
    assert "in&amp;out" in text
    assert "href" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
