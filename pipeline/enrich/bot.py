"""A tag on events that software sent of itself: crawlers, monitors, headless browsers, command-line tools."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.enrich.user_agent_parser import MAX_USER_AGENT_LENGTH, load_user_agent_parser, parse_user_agent

__all__ = ["BotSettings", "create_bot", "find_bot"]

# Beside ua-parser's own crawlers. "bot" ends a word (Abbott is none), and Cubot is a maker of phones.
_WORDS = re.compile(
    r"(?<!cu)bot(?![a-z])|crawler|spider|headless|phantomjs|puppeteer|playwright|selenium|lighthouse|pagespeed|gtmetrix"
    r"|mediapartners|pingdom|uptimerobot|statuscake|site24x7|datadogsynthetics"
    r"|\b(?:curl|wget|python-requests|python-urllib|python-httpx|aiohttp|go-http-client|postmanruntime|scrapy|libwww-perl)/",
    re.IGNORECASE,
)
_MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class BotSettings:
    """Settings of the enrichment ``bot``.

    Attributes:
        cache_size: How many distinct user agents are remembered, about 0.5 KB each.

    """

    cache_size: int = 4096


def create_bot(settings: BotSettings) -> Callable[[dict[str, Any]], None]:
    """Create the enrichment that sets ``context.bot`` to ``{"is_bot": true, "name": …}`` for a bot's user agent.

    It only tags: who wants such events gone filters on the tag, and can take that back. The key is absent where
    ``context.userAgent`` is no bot's, and a value that the client gave stays.

    Args:
        settings: See the class.

    Returns:
        A function over an event's context, which it changes in place; it never raises.

    Raises:
        ImportError: If the Rust core of ua-parser is not installed.

    """
    load_user_agent_parser()
    find = lru_cache(maxsize=settings.cache_size)(find_bot)

    def enrich_bot(context: dict[str, Any]) -> None:
        user_agent = context.get("userAgent")
        if type(user_agent) is not str:
            return

        name = find(user_agent[:MAX_USER_AGENT_LENGTH])
        if name is not None and context.get("bot") is None:
            context["bot"] = {"is_bot": True, "name": name}

    return enrich_bot


def find_bot(user_agent: str) -> str | None:
    """Name the bot that a user agent belongs to.

    Args:
        user_agent: Any text.

    Returns:
        ua-parser's family for the crawlers it knows (``Googlebot``), else the product in the text that holds one of our
        words (``HeadlessChrome``, ``curl``), at most 100 characters; None where it is no bot. A crawler that ua-parser
        can't name either is none: its rule is a bare substring, and takes an app named Abbott for one.

    """
    parsed = parse_user_agent(user_agent)
    is_crawler = parsed.device is not None and parsed.device.family == "Spider"
    if is_crawler and parsed.user_agent is not None:
        return parsed.user_agent.family[:_MAX_NAME_LENGTH]

    word = _WORDS.search(user_agent)
    if word is not None:
        return _product(user_agent, word.start(), word.end())[:_MAX_NAME_LENGTH]

    return None


def _product(user_agent: str, start: int, end: int) -> str:
    """Widen a match to the product name around it; by hand, because a pattern that does it is quadratic."""
    while start > 0 and _is_product_character(user_agent[start - 1]):
        start -= 1
    while end < len(user_agent) and _is_product_character(user_agent[end]) and user_agent[end - 1] != "/":
        end += 1

    return user_agent[start:end].rstrip("/")


def _is_product_character(character: str) -> bool:
    """Tell whether a character belongs to a product's name, as RFC 9110 §10.1.5 has it, with dots and dashes."""
    return character.isalnum() or character in "-_."
