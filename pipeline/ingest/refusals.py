"""What is refused as a whole, with the status and code that make an SDK do the right thing (reference: tracking-api §3)."""

from __future__ import annotations

from typing import Final, NamedTuple


class Refused(NamedTuple):
    """A request that is not taken.

    Attributes:
        status: HTTP status.
        code: Stable slug, for programs.
        message: What is wrong, for a person; no value from the request.
        retry_after: Seconds after which to try again, or 0 where trying again does not help.
        source: Id of the source, where the request got far enough to have one.
        key: Fingerprint of the disabled write key that it came with, or empty.
    """

    status: int
    code: str
    message: str
    retry_after: int = 0
    source: str = ""
    key: str = ""


RETRY_AFTER_SECONDS: Final = 2
"""How long a client is asked to wait: short, because segment-python stops all sending for that long."""

INVALID_GZIP: Final = Refused(400, "invalid_json", "The body says Content-Encoding: gzip but is not a whole gzip stream.")
UNKNOWN_ENCODING: Final = Refused(400, "invalid_json", "The body's Content-Encoding is not one this server reads; send gzip or none.")
UNKNOWN_CODING: Final = Refused(400, "invalid_json", "The body's Transfer-Encoding is not one this server reads; send chunked or a Content-Length.")
INVALID_JSON: Final = Refused(400, "invalid_json", "The body is not UTF-8 JSON.")
NOT_AN_OBJECT: Final = Refused(400, "not_an_object", "The body is not a JSON object.")
NOT_A_BATCH: Final = Refused(400, "invalid_json", "The body is not an object with an array under `batch`.")
BATCH_TOO_LONG: Final = Refused(400, "batch_too_long", "The batch has more than 2,500 events.")
TOO_LARGE: Final = Refused(413, "payload_too_large", "The body is larger than 8 MiB after decompression.")
TOO_DENSE: Final = Refused(413, "payload_too_large", "The body unpacks to more than 1 MiB and more than a hundred times its size.")
TOO_MANY_VALUES: Final = Refused(413, "payload_too_large", "An event has more than 32,768 values, or a batch more than a million.")
TOO_SLOW: Final = Refused(408, "request_timeout", "The body took longer than a minute to arrive.")
NOT_HTTP: Final = Refused(400, "bad_request", "The request is not HTTP/1.1 that can be read in one way only.")
LARGE_HEAD: Final = Refused(431, "headers_too_large", "The head of the request has more than 128 KiB or more than 100 headers.")
# RudderStack's SDKs for apps stop on the words "invalid write key" alone, and would send the same for ever (rudder-sdk-android 1.28,
# RudderNetworkManager; rudder-sdk-ios 1.31, RSNetworkManager).
INVALID_WRITE_KEY: Final = Refused(
    401, "invalid_write_key", "Invalid write key: no known one in Authorization, X-Write-Key, body, batch items or query."
)
INVALID_TOKEN: Final = Refused(511, "invalid_token", "The access token is expired or not known; ask for another one.")
ORIGIN_NOT_ALLOWED: Final = Refused(403, "origin_not_allowed", "The source of this write key takes nothing from pages of this origin.")
RATE_LIMITED: Final = Refused(429, "rate_limited", "The source sends more events than its rate allows.", RETRY_AFTER_SECONDS)
TOO_MANY_GUESSES: Final = Refused(429, "too_many_requests", "Too many requests with unknown write keys came from this address.", RETRY_AFTER_SECONDS)
NOT_A_QUERY: Final = Refused(400, "invalid_query", "The query string holds no event: neither `data` in base64 nor fields.")
UNKNOWN_WISH: Final = Refused(
    400, "invalid_query", "The query asks for an answer that there is not: acknowledge takes stored or validated, results takes true or false."
)
SOURCE_DISABLED: Final = Refused(403, "source_disabled", "The source of this write key is disabled.")
WEBHOOK_DISABLED: Final = Refused(403, "source_disabled", "The source of this address is disabled.")
NO_SECRET: Final = Refused(503, "misconfigured", "No secret of the source is set on this machine; send the delivery again.", RETRY_AFTER_SECONDS)
NOT_FOUND: Final = Refused(404, "not_found", "There is nothing under this path.")
METHOD_NOT_ALLOWED: Final = Refused(405, "method_not_allowed", "This path takes another method: the one that Allow names.")
UNAVAILABLE: Final = Refused(503, "unavailable", "The events could not be stored now; send them again.", RETRY_AFTER_SECONDS)
OVERLOADED: Final = Refused(503, "overloaded", "More is waiting to be stored than fits; send the events again.", RETRY_AFTER_SECONDS)
FAILED: Final = Refused(500, "internal_error", "The server failed on this request.")
