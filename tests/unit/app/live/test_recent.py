"""The newest events are kept, bounded in number and bytes."""

from pipeline.app.live.facts import About, Fact, Place
from pipeline.app.live.recent import Recent


def event(message_id: str, *, at: int = 0, topic: str = "raw", offset: int = 0, source: str = "web") -> Fact:
    """Make a fact of an event topic."""
    return Fact(message_id, "event", Place(topic, 0, offset), at, About(source, "track", "E", "u", at))


def recent(**bounds: int) -> Recent:
    """Make an empty one."""
    return Recent(("raw", "validated"), **bounds)


def test_oldest_of_a_source_go() -> None:
    """Of each source the newest remain, in whatever order they came; other sources are not touched."""
    kept = recent(most_events=10)
    kept.add(event("other", at=0, source="server"), b"{}")
    for number in range(13):
        kept.add(event(f"m-{number}", at=(number * 7) % 13, offset=number), b"{}")
    shown = {seen.message_id: seen.about.received_at for seen in kept.changed(0)}
    assert shown.pop("other") == 0
    assert sorted(shown.values()) == list(range(3, 13))


def test_bytes_are_bounded() -> None:
    """Large events make room for each other."""
    kept = recent(most_bytes=20_000)
    for number in range(100):
        kept.add(event(f"m-{number}", at=number), b"x" * 1000)
    assert kept.size <= 20_000
    assert kept.get("m-99") is not None
    assert kept.get("m-0") is None


def test_changed_gives_the_latest_first_and_once() -> None:
    """What changed after a version comes once, however often it changed."""
    kept = recent()
    kept.add(event("a", offset=1), b"{}")
    kept.add(event("b", offset=2), b"{}")
    version = kept.version
    kept.add(event("a", topic="validated", offset=1), b"{}")
    kept.add(event("a", topic="enriched", offset=1))
    assert ["a"] == [seen.message_id for seen in kept.changed(version)]
    assert ["a", "b"] == [seen.message_id for seen in kept.changed(0)]


def test_validated_body_is_preferred() -> None:
    """The normalised event is shown, in whatever order the topics are read."""
    kept = recent()
    kept.add(event("a", topic="validated"), b'"validated"')
    kept.add(event("a", topic="raw"), b'"raw"')
    seen = kept.get("a")
    assert seen is not None
    assert b'"validated"' == seen.body


def test_what_became_of_an_unseen_event_has_no_row() -> None:
    """An attempt alone is no event, until the event itself is read."""
    kept = recent()
    kept.add(Fact("a", "attempt", Place("deliveries", 0, 0), 5, About("web"), destination="crm"))
    assert [] == list(kept.changed(0))
    kept.add(event("a"), b"{}")
    assert ["a"] == [seen.message_id for seen in kept.changed(0)]


def test_source_that_is_learnt_late() -> None:
    """An event moves to its source once that is known."""
    kept = recent(most_events=1)
    kept.add(event("a", source=""), b"{}")
    kept.add(event("a", topic="validated", source="web"), b"{}")
    kept.add(event("b", source="server", at=9), b"{}")
    seen = kept.get("a")
    assert seen is not None
    assert "web" == seen.about.source


def test_ranges_touch_what_lies_in_them() -> None:
    """A transaction shows exactly the events of its offsets anew."""
    kept = recent()
    for offset in range(5):
        kept.add(event(f"m-{offset}", offset=offset), b"{}")
    version = kept.version
    kept.touch_range("raw", 0, 1, 3)
    kept.touch_range("raw", 1, 0, 9)
    assert {"m-1", "m-2"} == {seen.message_id for seen in kept.changed(version)}


def test_facts_of_an_event_are_bounded() -> None:
    """An event that is tried for ever does not grow for ever."""
    kept = recent()
    for offset in range(500):
        kept.add(event("a", offset=offset), b"{}")
    seen = kept.get("a")
    assert seen is not None
    assert len(seen.facts) < 100
