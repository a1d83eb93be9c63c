"""The topology as nodes and edges."""

from pipeline.app.live.graph import Stage, graph, groups, shape
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Source, Storage, Workspace

WORKSPACE = Workspace(
    "shop",
    3,
    sources={"web": Source("web")},
    destinations={"crm": Destination("crm", "webhook"), "ads": Destination("ads", "webhook")},
    storage={"lake": Storage("lake", "parquet")},
)


def topology(*processors: Processor) -> Topology:
    """Make a topology."""
    return Topology("default", {one.name: one for one in processors})


DELIVER = Processor("deliver", "requests.{destination}", "deliver", for_each="destination")
LAKE = Processor("lake", "routed", "lake", for_each="storage")
DEFAULT = topology(
    Processor("filter", "validated", steps=("filter",), lanes={"main": "routed"}),
    Processor("validate", "raw", steps=("validate", "dedup"), lanes={"main": "validated"}),
    Processor("translate", "routed", steps=("translate",), lanes={"requests": "requests.{destination}"}, for_each="destination"),
    DELIVER,
    Processor("retry", "retry.{delay}", "retry", lanes={"due": "requests.{destination}.retry"}),
    LAKE,
)
FUSED = topology(
    Processor("prepare", "raw", steps=("validate", "dedup", "enrich", "filter"), lanes={"main": "routed"}),
    Processor("translate", "routed", steps=("translate",), lanes={"requests": "requests.{destination}"}),
    DELIVER,
    LAKE,
)


def test_chain_follows_the_topics() -> None:
    """The chain comes from the topics, not from the order of the file."""
    way = shape(DEFAULT)
    assert (Stage("validate", "raw", "validated"), Stage("filter", "validated", "routed")) == way.chain
    assert ("raw", "validated", "routed") == way.event_topics
    assert "translate.crm" == way.translator("crm")
    assert ("prepare",) == tuple(stage.name for stage in shape(FUSED).chain)
    assert "translate" == shape(FUSED).translator("crm")


def test_groups_and_their_topics() -> None:
    """Each group is listed with everything that it reads."""
    found = groups(DEFAULT, WORKSPACE)
    assert ["requests.crm", "requests.crm.retry", "requests.crm.replay"] == found["deliver.crm"]
    assert ["routed", "routed.lake.replay"] == found["lake.lake"]
    assert 5 == len(found["retry"])
    assert {"filter", "validate", "translate.crm", "translate.ads", "deliver.crm", "deliver.ads", "retry", "lake.lake"} == set(found)


def test_every_edge_has_its_ends() -> None:
    """Edges lead from and to nodes, each a column or more to the right; no two nodes lie in one place."""
    for each in (DEFAULT, FUSED):
        drawn = graph(each, WORKSPACE)
        columns = {node["id"]: node["column"] for node in drawn["nodes"]}
        assert len(columns) == len(drawn["nodes"])
        assert all(columns[edge["from"]] < columns[edge["to"]] for edge in drawn["edges"])
        assert len({(node["column"], node["row"]) for node in drawn["nodes"]}) == len(drawn["nodes"])
        assert min(node["row"] for node in drawn["nodes"]) >= 0


def test_a_workspace_without_anything() -> None:
    """An empty workspace is drawn too: a collector and the chain."""
    drawn = graph(DEFAULT, Workspace("new"))
    assert ["collector", "validate", "filter"] == [node["id"] for node in drawn["nodes"]]
