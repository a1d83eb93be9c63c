"""Filter: say which destinations and storages an event is for.

Comes in: a normalised, enriched message whose source is known. Goes out: the same message with the header `routes`: ids in
order, comma separated. Reasons: `no_route` (dropped: nothing wants it), `not_an_object` (dead). Beside the outcome, for each
destination of the source that does not get the event: `destination_disabled`, `filtered_by_rules`,
`filtered_by_integrations_object` or `filter_failed`; and `unknown_integration`, without a destination, where the
integrations object names what the workspace does not have.
"""

from __future__ import annotations

from pipeline.filter.step import create_filter

__all__ = ["create_filter"]
