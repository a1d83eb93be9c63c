"""The framing of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from typing import Any

import orjson


def frame(event: str, data: Any) -> bytes:  # noqa: ANN401 (JSON)
    """Write one message of a stream.

    Args:
        event: Its name.
        data: What it says. Written as JSON on one line, because JSON escapes every line break; nothing in an event can end the message early.

    Returns:
        The message, with the empty line that ends it.
    """
    return b"event: %s\ndata: %s\n\n" % (event.encode(), orjson.dumps(data))
