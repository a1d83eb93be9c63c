"""What the documents say, and what they must never leave out."""

from pipeline.model.workspace import Source
from pipeline.sdk import Address, rudder_source_config, segment_settings

HERE = Address("https", "cdp.example.com")


def test_events_stay_at_home() -> None:
    """Where events go, what key they carry, and that the library reports on itself to nobody."""
    settings = segment_settings("key-1", HERE)
    assert ["Segment.io"] == list(settings["integrations"])
    own = settings["integrations"]["Segment.io"]
    assert ("key-1", "cdp.example.com/v1", "https") == (own["apiKey"], own["apiHost"], own["protocol"])
    assert {"sampleRate": 0} == settings["metrics"]


def test_no_member_is_null() -> None:
    """Kotlin reads the members typed: objects are objects, and nothing is null."""
    settings = segment_settings("key-1", HERE)
    assert [] == [name for name, value in settings.items() if value is None]
    objects = ("integrations", "plan", "edgeFunction", "middlewareSettings", "metrics", "consentSettings", "autoInstrumentationSettings")
    assert [dict] * len(objects) == [type(settings[name]) for name in objects]


def test_the_source_of_rudder() -> None:
    """What their library needs, no statistics, and whether the source takes events."""
    config = rudder_source_config(Source("web", ("key-1",), enabled=False), "key-1", "shop")["source"]
    assert ("web", "key-1", "shop", False, []) == tuple(config[name] for name in ("id", "writeKey", "workspaceId", "enabled", "destinations"))
    assert {"errors": {"enabled": False}, "metrics": {"enabled": False}} == config["config"]["statsCollection"]
