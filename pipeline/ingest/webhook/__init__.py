"""A webhook source: another product's delivery, proved by its signature, becomes calls of the spec (reference: reliability T62).

In: a request to `/v1/webhook/<source>`, the time it came, and the source's `Hook`. Out: `Accepted` with records for `raw` (or, for what is proved
but makes no event, for `dead.ingest`), or `Unproved`: the refusal and the dead letter of what no secret vouches for.

Reasons of its dead letters: `invalid_signature`, `delivery_too_old`, `invalid_json`, `mapping_failed`, and those of the collector's own judgement.
"""

from pipeline.ingest.webhook.delivery import Hook, Unproved, collect_delivery, kept_headers, make_hook, map_anew
from pipeline.ingest.webhook.signature import signing_key

__all__ = ["Hook", "Unproved", "collect_delivery", "kept_headers", "make_hook", "map_anew", "signing_key"]
