"""What a newcomer needs to send events: addresses, a write key, and snippets to paste."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.sdk import Address, Place, snippets


@dataclass(frozen=True, slots=True)
class Setup:
    """Where to send to.

    Attributes:
        write_key: A write key that works here.
        source: Id of its source.
        address: The collector's address (`http://127.0.0.1:7070`).
        bootstrap: Kafka's address (`127.0.0.1:9092`).
        raw_topic: The topic that any Kafka client may write to, with prefix.
        links: More addresses to try, by what they are.
        sources: A write key of each source by its id.
    """

    write_key: str
    source: str
    address: str
    bootstrap: str
    raw_topic: str
    links: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


def setup_json(setup: Setup, source: str = "") -> dict[str, Any]:
    """Give what the page's setup panel shows.

    Args:
        setup: Where to send to.
        source: Id of the source whose snippets are wanted; that of `setup` where it is none of `setup.sources`.

    Returns:
        A JSON object: the attributes of `Setup`, with the ids of `sources` alone, and `snippets` (id, title, family, text).
    """
    if source not in setup.sources:
        source = setup.source
    write_key = setup.sources.get(source, setup.write_key)
    scheme, _, host = setup.address.partition("://")
    place = Place(write_key, source, Address(scheme, host), setup.bootstrap, setup.raw_topic)
    return {
        "write_key": write_key,
        "source": source,
        "address": setup.address,
        "bootstrap": setup.bootstrap,
        "raw_topic": setup.raw_topic,
        "links": [{"label": label, "url": url} for label, url in setup.links.items()],
        "sources": list(setup.sources),
        "snippets": [one._asdict() for one in snippets(place)],
    }
