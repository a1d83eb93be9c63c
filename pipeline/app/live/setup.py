"""What a newcomer needs to send events: addresses, a write key, and snippets to paste."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import Template
from typing import Any, Final


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
    """

    write_key: str
    source: str
    address: str
    bootstrap: str
    raw_topic: str
    links: dict[str, str] = field(default_factory=dict)


_SNIPPETS: Final = (
    (
        "curl",
        "curl",
        """curl $address/v1/track \\
  -u $write_key: \\
  -d '{"userId": "u-1", "event": "Signed Up", "properties": {"plan": "Team"}}'
""",
    ),
    (
        "python",
        "Python",
        """# pip install segment-analytics-python
import segment.analytics as analytics

analytics.write_key = "$write_key"
analytics.host = "$address"

analytics.track("u-1", "Signed Up", {"plan": "Team"})
analytics.shutdown()  # waits until everything is sent
""",
    ),
    (
        "node",
        "Node",
        """// npm install @segment/analytics-node
import { Analytics } from "@segment/analytics-node";

const analytics = new Analytics({ writeKey: "$write_key", host: "$address" });

analytics.track({ userId: "u-1", event: "Signed Up", properties: { plan: "Team" } });
await analytics.closeAndFlush();
""",
    ),
    (
        "browser",
        "Browser",
        """// npm install @segment/analytics-next
import { AnalyticsBrowser } from "@segment/analytics-next";

const analytics = AnalyticsBrowser.load({
  writeKey: "$write_key",
  cdnSettings: {
    integrations: {
      "Segment.io": { apiKey: "$write_key", apiHost: "$host/v1", protocol: "$scheme" },
    },
  },
});

analytics.track("Signed Up", { plan: "Team" });
""",
    ),
    (
        "kafka",
        "Kafka",
        """echo '{"type": "track", "userId": "u-1", "event": "Signed Up", "messageId": "kcat-1"}' |
  kcat -P -b $bootstrap -t $raw_topic -H source=$source
""",
    ),
)


def setup_json(setup: Setup) -> dict[str, Any]:
    """Give what the page's setup panel shows.

    Args:
        setup: Where to send to.

    Returns:
        A JSON object: the attributes of `Setup` and `snippets` (id, title, text).
    """
    scheme, _, host = setup.address.partition("://")
    words = {
        "write_key": setup.write_key,
        "source": setup.source,
        "address": setup.address,
        "bootstrap": setup.bootstrap,
        "raw_topic": setup.raw_topic,
        "host": host,
        "scheme": scheme,
    }
    return {
        "write_key": setup.write_key,
        "source": setup.source,
        "address": setup.address,
        "bootstrap": setup.bootstrap,
        "raw_topic": setup.raw_topic,
        "links": [{"label": label, "url": url} for label, url in setup.links.items()],
        "snippets": [{"id": ident, "title": title, "text": Template(text).substitute(words)} for ident, title, text in _SNIPPETS],
    }
