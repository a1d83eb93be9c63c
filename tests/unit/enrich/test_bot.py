"""Tagging of bots."""

from typing import Any

import pytest

from pipeline.enrich import create_enrich
from pipeline.enrich.bot import find_bot

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (GOOGLEBOT, "Googlebot"),
        ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "GPTBot"),
        ("facebookexternalhit/1.1", "FacebookBot"),
        ("Mediapartners-Google", "Mediapartners-Google"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/125.0.0.0 Safari/537.36", "HeadlessChrome"),
        ("Acme-Statusbot/2 (internal)", "Acme-Statusbot"),
        ("Acme.Lighthouse-Check/2 (internal)", "Acme.Lighthouse-Check"),
        ("curl/8.5.0", "curl"),
        ("python-requests/2.31.0", "python-requests"),
    ],
)
def test_a_bot_is_named(user_agent: str, name: str) -> None:
    """Crawlers have ua-parser's name, others the product's own."""
    assert name == find_bot(user_agent)


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0 Mobile Safari/537.36",
        "AbbottApp/3.1",
        "analytics-python/2.4.0",
        "okhttp/4.9.0",
        "",
    ],
)
def test_what_people_use_is_no_bot(user_agent: str) -> None:
    """Browsers, apps and SDKs are no bots, even where their names hold the letters."""
    assert find_bot(user_agent) is None


def test_a_bot_is_tagged() -> None:
    """The tag stands in the context, and everything else stays."""
    message: dict[str, Any] = {"type": "page", "context": {"userAgent": GOOGLEBOT}}

    create_enrich(["bot"], {})(message)

    assert {
        "type": "page",
        "context": {"userAgent": GOOGLEBOT, "bot": {"is_bot": True, "name": "Googlebot"}},
    } == message


@pytest.mark.parametrize("own", [False, {"is_bot": False}, "no"])
def test_a_given_tag_stays(own: object) -> None:
    """What the client says about bots is not overwritten."""
    message: dict[str, Any] = {"context": {"userAgent": GOOGLEBOT, "bot": own}}

    create_enrich(["bot"], {})(message)

    assert own == message["context"]["bot"]


@pytest.mark.parametrize("context", [None, 1, {}, {"userAgent": ["curl/8"]}, {"userAgent": "Mozilla/5.0"}])
def test_no_bot_leaves_no_tag(context: object) -> None:
    """The key is absent, not false, where nothing tells of a bot."""
    message: dict[str, Any] = {"context": context}
    before = repr(message)

    create_enrich(["bot"], {})(message)

    assert before == repr(message)
