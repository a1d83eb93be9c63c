"""Laws that every destination type keeps, and the cases that lie beside each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from pipeline.deliver.sending import read_item, to_send
from pipeline.deliver.verdicts import Delivered, Disable, Park, Retry, classify
from pipeline.destinations import webhook
from pipeline.destinations.declaration import CALLS, DestinationType, secret_settings, settings_schema
from pipeline.mapping import compile_mapping, compile_query
from pipeline.model.outcomes import Dead, Emits
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Destination, MappingDeclaration
from pipeline.translate import create_translate

MODULES = (webhook,)
TYPES = {module.DESTINATION.slug: module.DESTINATION for module in MODULES}

WAIVED: dict[str, str] = {}
"""Name of a type and law → why it is let off; only ever shrinks."""

OUTCOMES = {Delivered: "delivered", Retry: "retried", Dead: "dead", Park: "parked", Disable: "parked"}


def cases_of(slug: str) -> list[dict[str, Any]]:
    """Read the cases that lie beside a declaration."""
    module = next(module for module in MODULES if module.DESTINATION.slug == slug)
    cases: list[dict[str, Any]] = yaml.safe_load((Path(str(module.__file__)).parent / "cases.yaml").read_text())
    return cases


EVENT_CASES = [(slug, case) for slug in TYPES for case in cases_of(slug) if "event" in case]
ANSWER_CASES = [(slug, case) for slug in TYPES for case in cases_of(slug) if "status" in case]


def requests_of(slug: str, case: dict[str, Any]) -> list[bytes]:
    """Render the requests of a case."""
    mappings = tuple(MappingDeclaration(**one) for one in case.get("mappings", ()))
    destination = Destination("one", slug, settings=case["settings"], mappings=mappings)
    step = create_translate(destination, TYPES[slug], compile_mapping, compile_query)
    outcome = step(Message(case["event"], b"k", {"routes": b"one"}, Record("routed", 0, 0, 0, b"k", b"", ()), "web"))
    return [record.value for record in outcome.records] if isinstance(outcome, Emits) else []


@pytest.mark.parametrize(("slug", "case"), EVENT_CASES, ids=lambda value: value["name"] if isinstance(value, dict) else value)
def test_case(slug: str, case: dict[str, Any]) -> None:
    """Event and settings give exactly the requests that the case expects."""
    requests = [{name: value for name, value in orjson.loads(one).items() if name != "id"} for one in requests_of(slug, case)]
    assert case["requests"] == requests


@pytest.mark.parametrize(("slug", "case"), ANSWER_CASES, ids=lambda value: str(value["status"]) if isinstance(value, dict) else value)
def test_answer(slug: str, case: dict[str, Any]) -> None:
    """An answer means what the case says."""
    assert case["outcome"] == OUTCOMES[type(classify(case["status"], {}, "", 0))]


@pytest.mark.parametrize(("slug", "case"), EVENT_CASES, ids=lambda value: value["name"] if isinstance(value, dict) else value)
def test_same_request_each_time(slug: str, case: dict[str, Any]) -> None:
    """The same event gives the same bytes, id included, at every replay."""
    assert requests_of(slug, case) == requests_of(slug, case)


@pytest.mark.parametrize(("slug", "case"), EVENT_CASES, ids=lambda value: value["name"] if isinstance(value, dict) else value)
def test_no_secret_in_a_topic(slug: str, case: dict[str, Any]) -> None:
    """What is written to a topic holds neither a secret nor the reference to one, and each placeholder can be filled."""
    secrets = secret_settings(TYPES[slug], case["settings"])
    for value in requests_of(slug, case):
        assert not [text for text in secrets.values() if text.encode() in value]
        filled = to_send(
            read_item(value),
            secrets={name: f"value-of-{name}" for name in secrets},
            signing_secret=TYPES[slug].signing_secret,
            signed=bool(TYPES[slug].signing_secret),
            now_ms=0,
            timeout_seconds=1.0,
        )
        assert "${secret:" not in filled.url + "".join(filled.headers.values())


@pytest.mark.parametrize(("slug", "case"), EVENT_CASES, ids=lambda value: value["name"] if isinstance(value, dict) else value)
def test_settings_of_cases_satisfy_the_schema(slug: str, case: dict[str, Any]) -> None:
    """The schema that is derived from the settings takes the settings of every case."""
    jsonschema.Draft202012Validator(settings_schema(TYPES[slug])).validate(case["settings"])


@pytest.mark.parametrize("destination_type", TYPES.values(), ids=TYPES)
def test_declaration(destination_type: DestinationType) -> None:
    """Names are unique, everything has a sentence, triggers and mappings compile, the signing secret is a secret."""
    settings = {field.name: field for field in destination_type.settings}
    assert len(settings) == len(destination_type.settings)
    sentences = [destination_type.sentence, *(one.sentence for one in destination_type.settings), *(one.sentence for one in destination_type.actions)]
    assert [] == [sentence for sentence in sentences if not sentence.endswith(".")]
    assert destination_type.calls <= CALLS
    assert 0 < destination_type.timeout_seconds <= 30
    assert not destination_type.signing_secret or settings[destination_type.signing_secret].secret
    for action in destination_type.actions:
        compile_mapping(action.mapping)
        compile_query(action.trigger)


@pytest.mark.parametrize("destination_type", TYPES.values(), ids=TYPES)
def test_cases_cover_settings(destination_type: DestinationType) -> None:
    """Each action has a case with only the required settings and one with all of them."""
    required = {field.name for field in destination_type.settings if field.required}
    every = {field.name for field in destination_type.settings}
    for action in destination_type.actions:
        given = [set(case["settings"]) for case in cases_of(destination_type.slug) if case.get("action") == action.name]
        assert required in given
        assert every in given


def test_schema_refuses_unknown_and_missing_settings() -> None:
    """An unknown key, a missing address and an address of another kind are refused."""
    validator = jsonschema.Draft202012Validator(settings_schema(webhook.DESTINATION))
    for settings in ({}, {"url": "https://a.example", "colour": "red"}, {"url": "ftp://a.example"}, {"url": "file:///etc/passwd"}):
        assert not validator.is_valid(settings)


@pytest.mark.parametrize("slug", TYPES)
def test_what_browsers_get_is_no_secret(slug: str) -> None:
    """A public setting is no secret and in no request; the plugin that it is for lies beside the declaration, and only then."""
    one = TYPES[slug]
    assert not {field.name for field in one.settings if field.secret} & set(one.public_settings)
    assert not set(one.public_settings) & secret_settings(one, dict.fromkeys(one.public_settings, "${env:TOOL}")).keys()
    assert not [name for name in one.public_settings for action in one.actions if f"${{setting:{name}}}" in action.request.url]
    script = Path(str(next(module for module in MODULES if slug == module.DESTINATION.slug).__file__)).parent / "browser.js"
    assert bool(one.public_settings) == script.is_file()
