"""Campaigns from page addresses."""

from typing import Any

import pytest

from pipeline.enrich import create_enrich
from pipeline.enrich.campaign import read_campaign

STANDARD = "utm_campaign=spring&utm_source=news&utm_medium=email&utm_term=shoes&utm_content=top"
STANDARD_FACTS = {"name": "spring", "source": "news", "medium": "email", "term": "shoes", "content": "top"}


def enrich_page(page: object, **context: object) -> dict[str, Any]:
    """Run the enrichment with its defaults over an event with this page; return the context."""
    message: dict[str, Any] = {"context": {"page": page, **context}}
    create_enrich(["campaign"], {})(message)
    enriched: dict[str, Any] = message["context"]

    return enriched


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        pytest.param(STANDARD, STANDARD_FACTS, id="standard"),
        pytest.param("?" + STANDARD, STANDARD_FACTS, id="leading-question-mark"),
        pytest.param("utm_campaign=spring+sale%20%26%20more", {"name": "spring sale & more"}, id="decoded"),
        pytest.param("utm_source=a%00b%ff", {"source": "a\ufffdb\ufffd"}, id="no-nul-comes-back"),
        pytest.param("utm_source=&utm_medium=cpc", {"medium": "cpc"}, id="empty-is-absent"),
        pytest.param("utm_source=a&utm_source=b", {"source": "b"}, id="last-wins"),
        pytest.param("utm_id=7&utm_creative-format=wide", {"id": "7", "creative-format": "wide"}, id="custom"),
        pytest.param("utm_name=custom&utm_campaign=real", {"name": "real"}, id="standard-beats-custom"),
        pytest.param("utm_a.b=1&utm_=2&utm_click_ids=3&UTM_SOURCE=4", {}, id="not-a-name"),
        pytest.param("utm_source=a#utm_medium=b", {"source": "a"}, id="fragment-is-no-query"),
        pytest.param(
            "gclid=G1&fbclid=F1&msclkid=M1&ttclid=T1&li_fat_id=L1",
            {"click_ids": {"gclid": "G1", "fbclid": "F1", "msclkid": "M1", "ttclid": "T1", "li_fat_id": "L1"}},
            id="click-ids",
        ),
        pytest.param("dclid=x&q=utm_", {}, id="others"),
        pytest.param("", {}, id="empty"),
    ],
)
def test_a_query_is_read(query: str, facts: dict[str, Any]) -> None:
    """Each parameter lands under its key of the spec, and what is none leaves nothing."""
    assert facts == read_campaign(query)


def test_custom_parameters_are_bounded() -> None:
    """A query of a hundred invented parameters yields sixteen keys."""
    facts = read_campaign("&".join(f"utm_x{number}=1" for number in range(100)))

    assert [f"x{number}" for number in range(16)] == list(facts)


def test_custom_parameters_can_be_switched_off() -> None:
    """Only the five standard keys are read where the source asks for it."""
    message: dict[str, Any] = {"context": {"page": {"url": "https://shop.example/?utm_id=7&utm_souce=a&utm_term=b"}}}

    create_enrich(["campaign"], {"campaign": {"custom_parameters": False}})(message)

    assert {"term": "b"} == message["context"]["campaign"]


def test_the_address_is_read() -> None:
    """The query of the page's address becomes the campaign."""
    context = enrich_page({"url": f"https://shop.example/a?{STANDARD}#top"})

    assert STANDARD_FACTS == context["campaign"]


@pytest.mark.parametrize("address", [{}, {"url": None}, {"url": ""}, {"url": 7}])
def test_the_search_is_read_without_an_address(address: dict[str, Any]) -> None:
    """A page without an address is read by its search."""
    context = enrich_page({**address, "search": "?" + STANDARD})

    assert STANDARD_FACTS == context["campaign"]


def test_a_campaign_of_the_client_is_completed() -> None:
    """A campaign that agrees with the address gets what it lacks."""
    context = enrich_page({"url": f"https://shop.example/?{STANDARD}&gclid=G1"}, campaign={"name": "spring", "x": 1})

    assert {**STANDARD_FACTS, "x": 1, "click_ids": {"gclid": "G1"}} == context["campaign"]


def test_another_campaign_of_the_client_stays() -> None:
    """A campaign that contradicts the address is left as it came."""
    context = enrich_page({"url": f"https://shop.example/?{STANDARD}"}, campaign={"name": "autumn"})

    assert {"name": "autumn"} == context["campaign"]


@pytest.mark.parametrize(
    "page",
    [None, [], "x", {}, {"url": "https://shop.example/utm_source=a"}, {"url": "https://[?q=clid"}, {"search": 5}, {"search": "?q=utm_"}],
)
def test_a_page_without_campaign_adds_nothing(page: object) -> None:
    """No campaign appears where the address names none."""
    assert {"page": page} == enrich_page(page)


def test_events_share_no_campaign() -> None:
    """Two events from one address can be changed apart, click ids included."""
    enrich = create_enrich(["campaign"], {})
    messages: list[dict[str, Any]] = [
        {"context": {"page": {"url": f"https://shop.example/?{query}"}}} for query in (STANDARD, STANDARD, "gclid=G1", "gclid=G1")
    ]
    for message in messages:
        enrich(message)

    messages[0]["context"]["campaign"]["name"] = "changed"
    messages[2]["context"]["campaign"]["click_ids"]["gclid"] = "changed"

    assert STANDARD_FACTS == messages[1]["context"]["campaign"]
    assert {"click_ids": {"gclid": "G1"}} == messages[3]["context"]["campaign"]
