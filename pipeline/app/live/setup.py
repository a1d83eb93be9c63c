"""What a newcomer needs to send events: addresses, a write key, and snippets to paste."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.sdk import Address, Place, Snippet, snippets
from pipeline.sources import WEBHOOK_PATH


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
        webhooks: Ids of the webhook sources.
    """

    write_key: str
    source: str
    address: str
    bootstrap: str
    raw_topic: str
    links: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    webhooks: tuple[str, ...] = ()


def setup_json(setup: Setup, source: str = "") -> dict[str, Any]:
    """Give what the page's setup panel shows.

    Args:
        setup: Where to send to.
        source: Id of the source whose snippets are wanted; that of `setup` where it is none of `setup.sources`.

    Returns:
        A JSON object: the attributes of `Setup`, with the ids of `sources` alone, `snippets` (id, title, family, text) and
        `webhook`: the address to paste where the source is a webhook, which has no write key, else empty.
    """
    if source in setup.webhooks:
        return _webhook_json(setup, source)
    if source not in setup.sources:
        source = setup.source
    write_key = setup.sources.get(source, setup.write_key)
    scheme, _, host = setup.address.partition("://")
    place = Place(write_key, source, Address(scheme, host), setup.bootstrap, setup.raw_topic)
    return _shown(setup, source, write_key, "", snippets(place))


def _webhook_json(setup: Setup, source: str) -> dict[str, Any]:
    url = f"{setup.address}{WEBHOOK_PATH}{source}"
    return _shown(setup, source, "", url, [Snippet("webhook", "Webhook", "http", f"{url}\n")])


def _shown(setup: Setup, source: str, write_key: str, webhook: str, pasted: Iterable[Snippet]) -> dict[str, Any]:
    return {
        "write_key": write_key,
        "source": source,
        "webhook": webhook,
        "address": setup.address,
        "bootstrap": setup.bootstrap,
        "raw_topic": setup.raw_topic,
        "links": [{"label": label, "url": url} for label, url in setup.links.items()],
        "sources": [*setup.sources, *setup.webhooks],
        "snippets": [one._asdict() for one in pasted],
    }
