"""The first room: from an HTTP request of an SDK to records of the topic `raw`.

In: a request's endpoint, headers, query string and body, the time it came, and the workspace. Out: `Accepted` with records for `raw` (and, for
the bad items of a batch, for `dead.ingest`), or `Refused` with the status and code of the answer. Nothing here awaits, stores or reads a clock.

Reasons for which an item of a batch is dead, and codes with which a single event is refused (status 400): `not_an_object`, `unknown_type`,
`no_user_anon_id`, `event_not_defined`, `message_id_too_long`, `event_too_large`, `too_deep`, `too_many_keys`. For an item whose batch names no
write key also `unknown_source` and `source_disabled`; for a body on which this code fails, `crashed`. All else is validate's to judge.
"""

from pipeline.ingest.collect import Accepted, Request, collect, collect_in_turns, crashed
from pipeline.ingest.endpoints import ENDPOINTS, Endpoint
from pipeline.ingest.refusals import Refused
from pipeline.ingest.write_keys import WriteKeys

__all__ = ["ENDPOINTS", "Accepted", "Endpoint", "Refused", "Request", "WriteKeys", "collect", "collect_in_turns", "crashed"]
