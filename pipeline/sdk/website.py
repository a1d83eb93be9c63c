"""The snippet that a website pastes: it loads analytics.js from the collector, and keeps what is called before that is there.

It leaves for the library what Segment's own snippet leaves (`_writeKey`, `_loadOptions`, and a list of calls with the page that each was made on), so
a site that has that one changes its address only (source: @segment/analytics-next 1.84.3, `core/buffer`; reference: tracking-api §6).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import orjson

from pipeline.sdk.address import Address


def website_snippet(write_key: str, address: Address) -> str:
    """Write the snippet.

    Args:
        write_key: Write key of the site's source.
        address: Where the collector is reached.

    Returns:
        JavaScript, which may stand in a file or between script tags.
    """
    return _template().replace('"WRITE_KEY"', _text(write_key)).replace('"ADDRESS"', _text(str(address)))


@cache
def _template() -> str:
    return Path(__file__).with_name("snippet.js").read_text(encoding="utf-8")


def _text(value: str) -> str:
    """Write a string for JavaScript that cannot end the script tag that it may stand in."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")
