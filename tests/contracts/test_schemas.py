"""Laws over every published schema: it is valid, says what it means, and its examples prove it, in both validators."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jsonschema_rs
import orjson
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CALLS = ("alias", "group", "identify", "page", "screen", "track")
CALL_EXAMPLES = SCHEMAS / "calls" / "examples"
INVALID = sorted((CALL_EXAMPLES / "invalid").glob("*.json"))
EVENTS = sorted(SCHEMAS.glob("events/*/*.json"))
OURS = [SCHEMAS / "raw.json", *(SCHEMAS / "calls" / f"{call}.json" for call in CALLS), *EVENTS]

#: Every semantic event that the tracking protocol's public documentation names, by family.
EVENT_NAMES = {
    "ecommerce": (
        "Products Searched",
        "Product List Viewed",
        "Product List Filtered",
        "Promotion Viewed",
        "Promotion Clicked",
        "Product Clicked",
        "Product Viewed",
        "Product Added",
        "Product Removed",
        "Cart Viewed",
        "Checkout Started",
        "Checkout Step Viewed",
        "Checkout Step Completed",
        "Payment Info Entered",
        "Order Completed",
        "Order Updated",
        "Order Refunded",
        "Order Cancelled",
        "Coupon Entered",
        "Coupon Applied",
        "Coupon Denied",
        "Coupon Removed",
        "Product Added to Wishlist",
        "Product Removed from Wishlist",
        "Wishlist Product Added to Cart",
        "Product Shared",
        "Cart Shared",
        "Product Reviewed",
    ),
    "b2b": (
        "Account Created",
        "Account Deleted",
        "Signed Up",
        "Signed In",
        "Signed Out",
        "Invite Sent",
        "Account Added User",
        "Account Removed User",
        "Trial Started",
        "Trial Ended",
    ),
    "mobile": (
        "Application Installed",
        "Application Opened",
        "Application Backgrounded",
        "Application Foregrounded",
        "Application Updated",
        "Application Uninstalled",
        "Application Crashed",
        "Install Attributed",
        "Push Notification Received",
        "Push Notification Tapped",
        "Push Notification Bounced",
        "Deep Link Opened",
        "Deep Link Clicked",
    ),
    "video": (
        "Video Playback Started",
        "Video Playback Paused",
        "Video Playback Interrupted",
        "Video Playback Buffer Started",
        "Video Playback Buffer Completed",
        "Video Playback Seek Started",
        "Video Playback Seek Completed",
        "Video Playback Resumed",
        "Video Playback Completed",
        "Video Playback Exited",
        "Video Content Started",
        "Video Content Playing",
        "Video Content Completed",
        "Video Ad Started",
        "Video Ad Playing",
        "Video Ad Completed",
        "Video Quality Updated",
    ),
    "email": (
        "Email Bounced",
        "Email Delivered",
        "Email Link Clicked",
        "Email Marked as Spam",
        "Email Opened",
        "Unsubscribed",
    ),
    "others": (
        "Experiment Viewed",
        "Live Chat Conversation Started",
        "Live Chat Conversation Ended",
        "Live Chat Message Sent",
        "Live Chat Message Received",
    ),
}


def read(path: Path) -> dict[str, Any]:
    """Parse one published document."""
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def name_of(path: Path) -> str:
    """Name a document in test output by its place under schemas/."""
    return str(path.relative_to(SCHEMAS))


def refuse(address: str) -> NoReturn:
    """Stand for the network, which no schema may ask for anything."""
    raise AssertionError(f"a schema asked for {address}")


def verdicts(schema: dict[str, Any], message: dict[str, Any]) -> tuple[bool, bool]:
    """Judge a message by jsonschema, which explains errors, and by jsonschema-rs, which runs on the hot path."""
    slow = Draft202012Validator(schema, registry=Registry())
    fast = jsonschema_rs.validator_for(schema, retriever=refuse)
    return slow.is_valid(message), fast.is_valid(message)


def snake_case(name: str) -> str:
    """Fold an event's name as warehouses do: ASCII words of letters and digits, joined by underscores."""
    return "_".join(re.findall(r"[A-Z0-9]+[a-z0-9]*|[a-z0-9]+", name)).lower()


def described(schema: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Walk every named property of a schema, giving its place and its description."""
    for name, property_schema in schema.get("properties", {}).items():
        yield f"{place}/{name}", property_schema.get("description", "")
        yield from described(property_schema, f"{place}/{name}")
        yield from described(property_schema.get("items", {}), f"{place}/{name}/items")
    for name, definition in schema.get("$defs", {}).items():
        yield f"{place}/$defs/{name}", definition.get("description", "")
        yield from described(definition, f"{place}/$defs/{name}")


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_schema_is_valid(path: Path) -> None:
    """Each schema is itself valid JSON Schema 2020-12 and says so."""
    schema = read(path)

    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    Draft202012Validator.check_schema(schema)
    jsonschema_rs.validator_for(schema, retriever=refuse)


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_every_property_has_a_sentence(path: Path) -> None:
    """Each property is described in a sentence that ends with a full stop."""
    schema = read(path)
    silent = [place for place, text in described(schema, "") if not text.endswith(".")]

    assert [] == silent
    assert schema["description"].endswith(".")


@pytest.mark.parametrize("call", CALLS)
def test_call_example_is_valid(call: str) -> None:
    """The example of each call is valid in both validators."""
    assert (True, True) == verdicts(read(SCHEMAS / "calls" / f"{call}.json"), read(CALL_EXAMPLES / f"{call}.json"))


@pytest.mark.parametrize("call", CALLS)
def test_nulls_of_sdks_are_valid(call: str) -> None:
    """A null where SDKs write one for an absent value does not make a message invalid."""
    schema = read(SCHEMAS / "calls" / f"{call}.json")
    message = read(CALL_EXAMPLES / f"{call}.json")
    nullable = {"anonymousId", "name", "category", "properties", "traits", "sentAt"} & schema["properties"].keys()
    message |= dict.fromkeys(nullable) | {"userId": "user_1"}

    assert (True, True) == verdicts(schema, message)


@pytest.mark.parametrize("call", CALLS)
def test_unknown_keys_are_allowed(call: str) -> None:
    """A key that the schema does not name, such as an SDK's _metadata, does not make a message invalid."""
    message = read(CALL_EXAMPLES / f"{call}.json") | {"_metadata": {"retryCount": 1}}

    assert (True, True) == verdicts(read(SCHEMAS / "calls" / f"{call}.json"), message)


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_invalid_example_is_refused(path: Path) -> None:
    """Each invalid example is refused by both validators, for one error and no more."""
    call = path.stem.partition("-")[0]
    schema = read(SCHEMAS / "calls" / f"{call}.json")
    message = read(path)

    assert (False, False) == verdicts(schema, message)
    assert 1 == len(list(Draft202012Validator(schema, registry=Registry()).iter_errors(message)))


def test_raw_examples_are_valid() -> None:
    """The messages that the contract of the raw topic shows are valid by it."""
    schema = read(SCHEMAS / "raw.json")

    assert [(True, True)] * 2 == [verdicts(schema, message) for message in schema["examples"]]


@pytest.mark.parametrize("call", CALLS)
def test_normalised_messages_are_raw_messages(call: str) -> None:
    """What is valid after normalisation may also be written to the raw topic."""
    assert (True, True) == verdicts(read(SCHEMAS / "raw.json"), read(CALL_EXAMPLES / f"{call}.json"))


def test_raw_describes_its_headers() -> None:
    """The raw topic names the header source, which no writer has to set."""
    assert read(SCHEMAS / "raw.json")["x-headers"]["source"]["required"] is False


def test_every_semantic_event_has_its_schema() -> None:
    """The schemas under events/ are those of the named events, each in its family, and no others."""
    expected = {f"events/{family}/{snake_case(name)}.json" for family, names in EVENT_NAMES.items() for name in names}

    assert expected == {name_of(path) for path in EVENTS}


@pytest.mark.parametrize("path", EVENTS, ids=name_of)
def test_title_is_the_event_name(path: Path) -> None:
    """A schema's title is the exact name of the event, which its file name folds and its rule requires."""
    schema = read(path)

    assert schema["title"] in EVENT_NAMES[path.parent.name]
    assert path.stem == snake_case(schema["title"])
    assert schema["title"] == schema["properties"]["event"]["const"]


@pytest.mark.parametrize("path", EVENTS, ids=name_of)
def test_event_example_is_valid(path: Path) -> None:
    """The example of each event is a valid track call and follows the event's own schema, in both validators."""
    message = read(path.parent / "examples" / path.name)

    assert (True, True) == verdicts(read(SCHEMAS / "calls" / "track.json"), message)
    assert (True, True) == verdicts(read(path), message)


@pytest.mark.parametrize("path", EVENTS, ids=name_of)
def test_event_example_uses_named_properties(path: Path) -> None:
    """An example shows only properties that its schema names."""
    named = read(path)["properties"]["properties"]["properties"].keys()

    assert set() == read(path.parent / "examples" / path.name)["properties"].keys() - named


@pytest.mark.parametrize("path", EVENTS, ids=name_of)
def test_what_an_event_requires_is_enforced(path: Path) -> None:
    """Without one of its required properties an event is refused by both validators."""
    schema = read(path)
    message = read(path.parent / "examples" / path.name)

    for name in schema["properties"]["properties"].get("required", ()):
        properties = {key: value for key, value in message["properties"].items() if key != name}
        assert (False, False) == verdicts(schema, message | {"properties": properties})


def test_references_stay_inside_the_document() -> None:
    """No schema refers to another document, so that none has to be fetched."""
    references = {found for path in OURS for found in re.findall(rb'"\$ref": "([^"]+)"', path.read_bytes())}

    assert {b"#/$defs/product"} == references
