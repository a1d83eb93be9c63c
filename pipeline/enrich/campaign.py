"""The campaign that brought a visitor, read from the page's address."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote_plus

from pipeline.enrich.fill import fill

__all__ = ["CLICK_IDS", "CampaignSettings", "create_campaign", "read_campaign"]

CLICK_IDS = frozenset({"gclid", "fbclid", "msclkid", "ttclid", "li_fat_id"})
"""Click ids that ad platforms append: Google Ads, Meta, Microsoft Advertising, TikTok, LinkedIn."""

_STANDARD = {"campaign": "name", "source": "source", "medium": "medium", "term": "term", "content": "content"}
_LONGEST_REMEMBERED = 512
_MAX_CUSTOM = 16
_MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class CampaignSettings:
    """Settings of the enrichment ``campaign``.

    Attributes:
        custom_parameters: Whether ``utm_x`` beyond the five standard ones becomes ``context.campaign.x``. Off keeps
            misspelt parameters from growing columns in a warehouse.
        cache_size: How many distinct query strings are remembered, about 1 KB each.

    """

    custom_parameters: bool = True
    cache_size: int = 1024


def create_campaign(settings: CampaignSettings) -> Callable[[dict[str, Any]], None]:
    """Create the enrichment that adds ``context.campaign`` where absent.

    It reads the query of ``context.page.url``, or ``context.page.search`` where there is no address; see
    `read_campaign` for the keys. A campaign of the client that contradicts the address is left as it came.

    Args:
        settings: See the class.

    Returns:
        A function over an event's context, which it changes in place; it never raises.

    """
    custom_parameters = settings.custom_parameters
    read = lru_cache(maxsize=settings.cache_size)(partial(read_campaign, custom_parameters=custom_parameters))

    def enrich_campaign(context: dict[str, Any]) -> None:
        page = context.get("page")
        if type(page) is not dict:
            return
        address = page.get("url")
        query = address.partition("?")[2] if type(address) is str and address else page.get("search")
        if type(query) is not str or not query:
            return

        if "clid=" in query or "msclkid=" in query or "li_fat_id=" in query or len(query) > _LONGEST_REMEMBERED:
            # A click id is new with every click, so there is nothing to remember (and its own group is never shared).
            facts = read_campaign(query, custom_parameters=custom_parameters)
        elif "utm_" in query:
            facts = read(query)
        else:
            return
        if facts:
            fill(context, "campaign", facts)

    return enrich_campaign


def read_campaign(query: str, *, custom_parameters: bool = True) -> dict[str, Any]:
    """Read a campaign from a query string.

    Names are read as written (``UTM_SOURCE`` is none), the last of several wins, an empty one counts as absent and
    ``+`` is a space, as Segment's own browser SDK reads them. What follows ``#`` is no query.

    Args:
        query: With or without its leading ``?``.
        custom_parameters: Whether to read ``utm_x`` beyond the standard five, at most 16 of them.

    Returns:
        ``name`` (of ``utm_campaign``), ``source``, ``medium``, ``term``, ``content``, then each custom ``utm_x`` as
        ``x``, and under ``click_ids`` each click id by its parameter's name (several can come together, and a
        destination wants its own: ``$.context.campaign.click_ids.gclid``). Only what is there.

    """
    facts: dict[str, Any] = {}
    custom: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for parameter in query.partition("#")[0].removeprefix("?").split("&"):
        name, _, text = parameter.partition("=")
        if not text:
            continue
        if name.startswith("utm_"):
            name = name[4:]
            if name in _STANDARD:
                facts[_STANDARD[name]] = _decode(text)
            elif custom_parameters and _is_custom_name(name) and (name in custom or len(custom) < _MAX_CUSTOM):
                custom[name] = _decode(text)
        elif name in CLICK_IDS:
            click_ids[name] = _decode(text)

    for name, value in custom.items():
        facts.setdefault(name, value)
    if click_ids:
        facts["click_ids"] = click_ids

    return facts


def _decode(text: str) -> str:
    """Decode a query value; ``%00`` must not bring back the NUL that validation took out (PostgreSQL refuses it)."""
    if "%" not in text:
        return text.replace("+", " ")

    return unquote_plus(text).replace("\0", "\ufffd")


def _is_custom_name(name: str) -> bool:
    """Tell whether a parameter's name can be a key of a campaign: letters, digits, ``_`` and ``-``, up to 64."""
    return len(name) <= _MAX_NAME_LENGTH and name != "click_ids" and name.isascii() and name.replace("_", "").replace("-", "").isalnum()
