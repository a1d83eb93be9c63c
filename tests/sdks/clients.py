"""The SDKs that the tests send with: what each makes of a call, and when it gives one up.

Where an SDK changes what it is given, or has no such call, the change stands here, so that everything else is compared exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from tests.sdks.script import Call

FOLDER: Final = Path(__file__).parent
_EXACT_IN_A_DOUBLE: Final = 2**53


def same(call: Call) -> Call | None:
    """Give the call as it is."""
    return call


class Client(NamedTuple):
    """An SDK, and the program in its folder that makes calls with it.

    Attributes:
        package: Its name in its registry.
        folder: Folder below this one: the program, and a lock of what it needs.
        kind: How it is installed and started.
        modes: Ways of sending; an empty text is its default.
        kept: What arrives of a call, as the SDK makes it; None where it has no such call.
        gives_up: When it gives up a call, from its source.
        asks_first: Whether it sends nothing before it was given its settings: without a collector it does not start.
        unanswered: Modes in which the SDK does not learn whether a call arrived.
        places_id: Whether it takes a message id from its caller; else the id of a call stands in `context.callId`.
        sdk_file: The file that a page loads, of a browser SDK.
    """

    package: str
    folder: str
    kind: Literal["python", "node", "go", "java", "browser"]
    modes: tuple[str, ...]
    kept: Callable[[Call], Call | None]
    gives_up: str
    asks_first: bool = False
    unanswered: tuple[str, ...] = ()
    places_id: bool = True
    sdk_file: str = ""

    @property
    def version(self) -> str:
        """The version that its lock names."""
        name = re.escape(self.package)
        for file in ("requirements.in", "package.json", "go.mod", "jars.lock"):
            path = FOLDER / self.folder / file
            found = re.search(rf'{name}(?:==|": "| |:)v?([0-9][0-9.]*)', path.read_text(encoding="utf-8")) if path.exists() else None
            if found:
                return found[1]
        raise LookupError(f"no lock in tests/sdks/{self.folder} names {self.package}")


def _everywhere(value: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Mapping):
        return change({name: _everywhere(item, change) for name, item in value.items()})
    if isinstance(value, list):
        return [_everywhere(item, change) for item in value]
    return change(value)


def _double(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """What JavaScript reads of an integer, and writes again."""
    if not isinstance(value, int) or abs(value) <= _EXACT_IN_A_DOUBLE:
        return value
    rounded = float(value)
    return int(Decimal(repr(rounded))) if abs(rounded) < 1e21 else rounded


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 (JSON)
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value


def _without(call: Call, *names: str) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name not in names}


def _page_category(call: Call) -> Call:
    if call["type"] == "page" and "category" in call:
        return {**call, "properties": {**call["properties"], "category": call["category"]}}
    return call


def _traits_in_context(call: Call) -> Call:
    """The traits of an identify stand in its context only, from where the pipeline takes them."""
    if call["type"] != "identify":
        return call
    return {**call, "context": {**call.get("context", {}), "traits": call["traits"]}}


def _segment_node(call: Call) -> Call:
    """Numbers are doubles; the category of a page is copied into its properties."""
    changed: Call = _everywhere(_page_category(call), _double)
    return changed


def _segment_browser(call: Call) -> Call:
    """As the one for Node; the name of a page stands in its properties too."""
    changed = _segment_node(call)
    return {**changed, "properties": {**changed["properties"], "name": call["name"]}} if call["type"] == "page" else changed


def _rudder_node(call: Call) -> Call:
    """Numbers are doubles."""
    changed: Call = _everywhere(call, _double)
    return changed


def _go(call: Call) -> Call:
    """A page or screen has no category; empty properties and traits are left out."""
    call = _without(call, "category") if call["type"] in ("page", "screen") else call
    return {name: value for name, value in call.items() if value != {}}


def _java(call: Call) -> Call:
    """A screen has no category; members that are null are left out."""
    changed: Call = _everywhere(_without(call, "category") if call["type"] == "screen" else call, _without_nulls)
    return changed


def _kotlin(call: Call) -> Call | None:
    """There is no page call; the previous id of an alias is the one that the SDK knows; an integer beyond 64 bits is a double."""
    if call["type"] == "page":
        return None
    changed: Call = _everywhere(_without(call, "previousId"), lambda value: float(value) if isinstance(value, int) and value >= 2**64 else value)
    return changed


def _rudder_browser(call: Call) -> Call | None:
    """No screen call; doubles; nulls left out; name and category also in the properties of a page; traits in the context.

    The user is the one of the last identify.
    """
    if call["type"] == "screen":
        return None
    if call["type"] == "page":
        call = {**call, "properties": {**call["properties"], **{name: call[name] for name in ("name", "category") if name in call}}}
    changed: Call = _everywhere(_everywhere(_traits_in_context(call), _double), _without_nulls)
    return changed if call["type"] in ("identify", "alias") else _without(changed, "userId")


CLIENTS: Final = (
    Client(
        "segment-analytics-python",
        "segment_python",
        "python",
        ("", "gzip", "sync"),
        same,
        "after 10 more tries or 12 hours; `sync`: at once, with an exception to the caller",
    ),
    Client("rudder-sdk-python", "rudder_python", "python", ("", "plain"), _traits_in_context, "after 10 more tries"),
    Client("@segment/analytics-node", "segment_node", "node", ("",), _segment_node, "after 10 more tries"),
    Client("@rudderstack/rudder-sdk-node", "rudder_node", "node", ("", "plain"), _rudder_node, "after 3 more tries, within about 2 s"),
    Client("github.com/segmentio/analytics-go/v3", "segment_go", "go", ("",), _go, "after 10 tries, within about 50 s; at once while it closes"),
    Client("com.segment.analytics.java:analytics", "segment_java", "java", ("",), _java, "after 3 more tries, 15 to 60 s apart"),
    Client(
        "com.segment.analytics.kotlin:core", "segment_kotlin", "java", ("",), _kotlin, "never: it keeps calls until a flush succeeds", asks_first=True
    ),
    Client(
        "@segment/analytics-next",
        "segment_browser",
        "browser",
        ("", "batch", "snippet"),
        _segment_browser,
        "after 10 more tries; keeps them in local storage",
        asks_first=True,
        sdk_file="@segment/analytics-next/dist/umd/index.js",
    ),
    Client(
        "@rudderstack/analytics-js",
        "rudder_browser",
        "browser",
        ("xhr", "batch", "beacon"),
        _rudder_browser,
        "after 10 more tries; keeps them in local storage; `beacon`: at once, a beacon has no answer",
        asks_first=True,
        unanswered=("beacon",),
        places_id=False,
        sdk_file="@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
    ),
)
