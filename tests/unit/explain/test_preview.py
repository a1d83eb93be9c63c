"""What a preview counts, with the steps of the product."""

from dataclasses import replace

from pipeline.app.processes.options import call_schemas
from pipeline.assembly import Judges
from pipeline.assembly.recompute import Rerun, Version
from pipeline.explain import Preview, preview_as_data
from pipeline.model.record import Record
from pipeline.model.workspace import Destination, Filter, MappingDeclaration, Workspace
from pipeline.resources import resource
from pipeline.testing import event, read_topology, record
from tests.topologies.traffic import WORKSPACE

TOPOLOGY = read_topology(resource("topologies") / "default.yaml")
ORDERS = WORKSPACE.destinations["orders"]


def _preview(edited: Workspace) -> Preview:
    versions = {1: Version(replace(WORKSPACE, version=1), 0), 2: Version(replace(edited, version=2), 1000)}
    return Preview(Rerun(Judges(TOPOLOGY, call_schemas(), str), versions), 2)


def _enriched(**body: object) -> Record:
    return record(event(**body), topic="shop.enriched", headers={"source": b"web", "received_at": b"1", "config": b"1"})  # type: ignore[arg-type]  # texts


def _with(**destinations: Destination) -> Workspace:
    return replace(WORKSPACE, destinations={**WORKSPACE.destinations, **destinations})


def test_the_same_configuration_changes_nothing() -> None:
    """All requests are equal, and what is not sent has its reason."""
    preview = _preview(WORKSPACE)
    preview.add(_enriched(event="Order Completed", properties={"order_id": "o"}), {})
    preview.add(_enriched(type="page"), {})
    orders, quiet = preview.by_destination["orders"], preview.by_destination["quiet"]
    assert (2, 1, 1, {"no_matching_mapping": 1}) == (orders.events, orders.requests, orders.equal, dict(orders.reasons))
    assert (1, {"filtered_by_rules": 1}) == (quiet.requests, dict(quiet.reasons))
    assert 0 == sum(one.changed + one.new + one.gone for one in preview.by_destination.values())


def test_an_edited_mapping_shows_what_differs() -> None:
    """The difference of each request, from what was sent to what would be."""
    fields = {"order": {"@path": "$.properties.order_id"}, "preview": "yes"}
    preview = _preview(_with(orders=replace(ORDERS, mappings=(replace(ORDERS.mappings[0], fields=fields),))))
    preview.add(_enriched(event="Order Completed", messageId="m-1", properties={"order_id": "o"}), {})
    orders = preview.by_destination["orders"]
    assert (1, 1, 0) == (orders.requests, orders.changed, orders.equal)
    assert [("removed", "/body/text"), ("added", "/body/preview")] == [(one.kind, one.path) for one in orders.examples[0].differences]
    assert "m-1" == orders.examples[0].message_id


def test_new_and_gone() -> None:
    """What would be sent and was not, and the other way round, also for a destination that is new or removed."""
    everything = MappingDeclaration("order", 'type = "track"', ORDERS.mappings[0].fields)
    edited = _with(orders=replace(ORDERS, mappings=(everything,)), crm=replace(WORKSPACE.destinations["crm"], filters=(Filter("true"),)))
    added = Destination("added", "webhook", ("web",), settings={"url": "https://added.example"})
    del (smaller := dict(edited.destinations))["quiet"]
    preview = _preview(replace(edited, destinations={**smaller, "added": added}))
    preview.add(_enriched(event="Button Clicked"), {})
    counts = {name: (one.new, one.gone, dict(one.reasons)) for name, one in preview.by_destination.items()}
    assert counts == {
        "crm": (0, 1, {"filtered_by_rules": 1}),
        "orders": (1, 0, {}),
        "quiet": (0, 1, {"destination_disabled": 1}),
        "added": (1, 0, {}),
    }
    assert {"gone", "new"} == {example["kind"] for row in preview_as_data(preview)["destinations"] for example in row["examples"]}


def test_what_is_stored_counts_before_what_is_computed() -> None:
    """A request that was found is held against, whatever the version of its time would have made."""
    preview = _preview(WORKSPACE)
    preview.add(_enriched(event="Order Completed"), {"orders": {"order": b'{"id":"x","body":{}}'}})
    orders = preview.by_destination["orders"]
    assert (1, 0, 1) == (orders.changed, orders.computed, orders.stored)


def test_examples_are_few() -> None:
    """Three of each kind, however many differ; what was not looked for is not shown."""
    preview = _preview(_with(orders=replace(ORDERS, settings={"url": "https://elsewhere.example"})))
    for number in range(10):
        preview.add(_enriched(event="Order Completed", messageId=f"m-{number}"), {})
    assert (10, 3) == (preview.by_destination["orders"].changed, len(preview.by_destination["orders"].examples))
