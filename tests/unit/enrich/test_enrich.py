"""Composition of enrichments, and the laws that each of them keeps."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.enrich import (
    ENRICHMENTS,
    EnrichmentError,
    InvalidEnrichmentSettingsError,
    UnknownEnrichmentError,
    create_enrich,
    open_geo_reader,
)

READER = open_geo_reader(Path(__file__).parents[2] / "data" / "geo" / "test-city.mmdb")
SETTINGS: dict[str, dict[str, Any]] = {"geo": {"reader": READER}}
EACH = {name: create_enrich([name], SETTINGS) for name in ENRICHMENTS}
ALL = create_enrich(list(ENRICHMENTS), SETTINGS)
CHAINS = [pytest.param(enrich, id=name) for name, enrich in {**EACH, "all": ALL}.items()]

BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4 Safari/605.1.15"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
addresses = st.ip_addresses().map(str) | st.sampled_from(
    ["203.0.113.77", "::ffff:203.0.113.5", "2001:db8:1::9", "10.0.0.1", "203.0.113.77:80", "2002:cb00:714d::1"]
)
queries = st.text("utm_sorcecampignxl%+&=?#id0 ", max_size=40) | st.sampled_from(
    ["?utm_source=a&utm_medium=b", "?utm_campaign=%00&gclid=G1", "?utm_click_ids=1&li_fat_id=2", "?utm_x=1&utm_name=2"]
)
groups = json | st.dictionaries(
    st.sampled_from(["name", "version", "type", "model", "country", "city", "source", "click_ids", "latitude"]),
    json | st.sampled_from(["Mac OS X", "mac os x", "Safari", "desktop", "Exampleland", "a"]),
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "userAgent": json | st.sampled_from([BROWSER, CRAWLER, "curl/8.5.0", "HeadlessChrome"]),
        "ip": json | addresses,
        "page": json | st.fixed_dictionaries({}, optional={"url": json | queries.map("https://shop.example/{}".format), "search": queries}),
        "device": groups,
        "os": groups,
        "browser": groups,
        "bot": groups,
        "campaign": groups,
        "location": groups,
    },
)
messages = st.dictionaries(st.text(max_size=8), json, max_size=3) | st.fixed_dictionaries({"context": json | contexts})


# A busy machine must not fail a law.
unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def kept(given_value: object, enriched: object) -> bool:
    """Tell whether everything that was given is still there, null and empty text apart."""
    if given_value is None or given_value == "":
        return True
    if isinstance(given_value, dict):
        return isinstance(enriched, dict) and all(name in enriched and kept(value, enriched[name]) for name, value in given_value.items())

    return type(given_value) is type(enriched) and given_value == enriched


@pytest.mark.parametrize("enrich", CHAINS)
@unhurried
@given(message=messages)
def test_no_json_fails_and_twice_equals_once(enrich: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
    """Whatever a client sends is taken, and an event that passes twice is as one that passed once."""
    enrich(message)
    once = copy.deepcopy(message)
    enrich(message)

    assert once == message


@pytest.mark.parametrize("enrich", [pytest.param(EACH[name], id=name) for name in EACH if name != "ip_anonymize"])
@unhurried
@given(message=messages)
def test_given_values_stay(enrich: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
    """Nothing that a client gave is overwritten or removed."""
    before = copy.deepcopy(message)

    enrich(message)

    assert kept(before, message)


@unhurried
@given(message=messages)
def test_anonymising_touches_the_address_only(message: dict[str, Any]) -> None:
    """Everything but the address stays as it was given."""
    before = copy.deepcopy(message)

    EACH["ip_anonymize"](message)
    for event in (before, message):
        if isinstance(event.get("context"), dict):
            event["context"].pop("ip", None)

    assert before == message


def test_all_together_enrich_a_browser_event() -> None:
    """A browser's event comes out with device, campaign and place, and without its whole address."""
    message: dict[str, Any] = {
        "type": "page",
        "context": {
            "ip": "203.0.113.77",
            "userAgent": BROWSER,
            "page": {"url": "https://shop.example/?utm_source=news&gclid=G1"},
        },
    }

    ALL(message)

    assert {
        "type": "page",
        "context": {
            "ip": "203.0.113.0",
            "userAgent": BROWSER,
            "page": {"url": "https://shop.example/?utm_source=news&gclid=G1"},
            "device": {"type": "desktop", "model": "Mac", "manufacturer": "Apple"},
            "os": {"name": "Mac OS X", "version": "10.15.7"},
            "browser": {"name": "Safari", "version": "17.4"},
            "campaign": {"source": "news", "click_ids": {"gclid": "G1"}},
            "location": {
                "country": "Exampleland",
                "country_code": "XA",
                "region": "North",
                "region_code": "NO",
                "city": "Riverton",
                "latitude": 12.5,
                "longitude": -45.25,
                "timezone": "Etc/GMT+3",
            },
        },
    } == message


def test_the_order_of_the_list_is_kept() -> None:
    """Anonymising first leaves the database only the shortened address."""
    asked: list[str] = []

    def record_question(address: str) -> None:
        asked.append(address)

    create_enrich(["ip_anonymize", "geo"], {"geo": {"reader": record_question}})({"context": {"ip": "203.0.113.77"}})

    assert ["203.0.113.0"] == asked


def test_no_names_change_nothing() -> None:
    """An empty list is a step that lets events pass."""
    message: dict[str, Any] = {"context": {"userAgent": BROWSER}}

    create_enrich([], {})(message)

    assert {"context": {"userAgent": BROWSER}} == message


@pytest.mark.parametrize(("names", "settings"), [(["weather"], {}), ([], {"weather": {}})])
def test_an_unknown_enrichment_is_named(names: list[str], settings: dict[str, dict[str, Any]]) -> None:
    """The error names the unknown one and lists those that exist."""
    with pytest.raises(UnknownEnrichmentError) as caught:
        create_enrich(names, settings)

    assert "unknown enrichment 'weather'; known are: user_agent, bot, campaign, geo, ip_anonymize" == str(caught.value)


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["bot", "bot"], {}, "an enrichment is listed twice: bot, bot"),
        (["geo"], {}, "enrichment 'geo' needs the setting 'reader'"),
        (
            ["geo"],
            {"geo": {"reader": "city.mmdb"}},
            "setting 'reader' of enrichment 'geo' must be a function, not 'city.mmdb'",
        ),
        (["bot"], {"bot": {"words": []}}, "enrichment 'bot' has no setting 'words'; it has: cache_size"),
        (
            ["bot"],
            {"bot": {"cache_size": 0}},
            "setting 'cache_size' of enrichment 'bot' must be a whole number above zero, not 0",
        ),
        (
            ["ip_anonymize"],
            {"ip_anonymize": {"enabled": "no"}},
            "setting 'enabled' of enrichment 'ip_anonymize' must be true or false, not 'no'",
        ),
    ],
)
def test_wrong_settings_are_named(names: list[str], settings: dict[str, dict[str, Any]], message: str) -> None:
    """What is wrong with the settings is said when the step is made."""
    with pytest.raises(InvalidEnrichmentSettingsError) as caught:
        create_enrich(names, settings)

    assert message == str(caught.value)
    assert isinstance(caught.value, EnrichmentError | ValueError)
