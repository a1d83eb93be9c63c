"""Code to paste that sends a first event to a source, for the usual places."""

from __future__ import annotations

from typing import NamedTuple


class Snippet(NamedTuple):
    """A piece of code: where it belongs, and its text."""

    title: str
    text: str


def snippets(write_key: str, address: str) -> tuple[Snippet, ...]:
    """Write the snippets of a source.

    Args:
        write_key: Its write key.
        address: Address of the collector: `http://127.0.0.1:7070`.

    Returns:
        curl, Python, Node and browser. The SDKs are Segment's own, pointed at the collector.
    """
    protocol, _, host = address.partition("://")
    return (
        Snippet(
            "curl",
            f"curl {address}/v1/track -u {write_key}: -H 'Content-Type: application/json' \\\n"
            '  -d \'{"userId": "u1", "event": "Order Completed", "properties": {"total": 42}}\'',
        ),
        Snippet(
            "Python  (pip install segment-analytics-python)",
            "from segment import analytics\n\n"
            f'analytics.write_key = "{write_key}"\n'
            f'analytics.host = "{address}"\n'
            'analytics.track("u1", "Order Completed", {"total": 42})\n'
            "analytics.flush()",
        ),
        Snippet(
            "Node  (npm install @segment/analytics-node)",
            'import { Analytics } from "@segment/analytics-node"\n\n'
            f'const analytics = new Analytics({{ writeKey: "{write_key}", host: "{address}" }})\n'
            'analytics.track({ userId: "u1", event: "Order Completed", properties: { total: 42 } })\n'
            "await analytics.closeAndFlush()",
        ),
        Snippet(
            "Browser  (npm install @segment/analytics-next)",
            'import { AnalyticsBrowser } from "@segment/analytics-next"\n\n'
            "const analytics = AnalyticsBrowser.load({\n"
            f'  writeKey: "{write_key}",\n'
            "  cdnSettings: {  // given here, so that nothing is asked of another host\n"
            f'    integrations: {{ "Segment.io": {{ apiKey: "{write_key}", apiHost: "{host}/v1", protocol: "{protocol}" }} }},\n'
            "    metrics: { sampleRate: 0 },\n"
            "  },\n"
            "})\n"
            'analytics.track("Order Completed", { total: 42 })',
        ),
    )
