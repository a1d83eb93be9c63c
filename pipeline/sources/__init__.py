"""Products that send webhooks: a folder for each, with its preset and the cases that a test runs.

A preset is data: how the product signs a delivery, what identifies and names it, and the mappings that make calls of the spec of it. A mapping
sees the delivery as `{headers, body, id, event, received_at}`: header names in lower case, the body as JSON, the event's readable name.
"""

from pipeline.sources.preset import WEBHOOK_PATH, SourcePreset, read_preset

__all__ = ["WEBHOOK_PATH", "SourcePreset", "read_preset"]
