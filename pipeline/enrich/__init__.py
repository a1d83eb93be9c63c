"""Enrich: add to an event what can be known from the event itself.

Comes in: a normalised spec message (``validated``), parsed and owned. Goes out: the same message with more in its
``context`` (``enriched``): device, OS, browser, bot, campaign, location. Reasons: none. It never drops, never fails,
and never overwrites what a client gave, but for ``ip_anonymize``, whose purpose that is.

Which enrichments run, in which order, is the topology's list of names. Each is one file with its settings and a
factory, and each is idempotent, so that an event which passes twice is as one that passed once; so is a list of them,
as long as the City database knows no more about a shortened address than about the whole one.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pipeline.enrich.bot import BotSettings, create_bot
from pipeline.enrich.campaign import CampaignSettings, create_campaign
from pipeline.enrich.geo import GeoDatabaseError, GeoReader, GeoSettings, create_geo, open_geo_reader
from pipeline.enrich.ip_anonymize import IpAnonymizeSettings, create_ip_anonymize
from pipeline.enrich.settings import EnrichmentError, InvalidEnrichmentSettingsError, read_settings
from pipeline.enrich.user_agent import UserAgentSettings, create_user_agent

__all__ = [
    "ENRICHMENTS",
    "BotSettings",
    "CampaignSettings",
    "EnrichmentError",
    "EnrichmentKind",
    "GeoDatabaseError",
    "GeoReader",
    "GeoSettings",
    "InvalidEnrichmentSettingsError",
    "IpAnonymizeSettings",
    "UnknownEnrichmentError",
    "UserAgentSettings",
    "create_enrich",
    "open_geo_reader",
]


class UnknownEnrichmentError(EnrichmentError):
    """A topology or its settings name an enrichment that does not exist."""


class EnrichmentKind(NamedTuple):
    """One line of the table of enrichments.

    Attributes:
        settings: Frozen dataclass of its settings.
        create: Takes one of these and returns the function over an event's context.

    """

    settings: type[Any]
    create: Callable[[Any], Callable[[dict[str, Any]], None]]


ENRICHMENTS: Final[Mapping[str, EnrichmentKind]] = MappingProxyType(
    {
        "user_agent": EnrichmentKind(UserAgentSettings, create_user_agent),
        "bot": EnrichmentKind(BotSettings, create_bot),
        "campaign": EnrichmentKind(CampaignSettings, create_campaign),
        "geo": EnrichmentKind(GeoSettings, create_geo),
        "ip_anonymize": EnrichmentKind(IpAnonymizeSettings, create_ip_anonymize),
    }
)
"""Every enrichment by its name, in the order that a topology without wishes of its own should list them."""


def create_enrich(names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """Compose enrichments into one function over an event.

    Args:
        names: The enrichments to run, in this order.
        settings: Settings by enrichment; one that is missing runs with its defaults, one that is not listed is ignored.

    Returns:
        A function that changes a normalised event in place; it never raises.

    Raises:
        UnknownEnrichmentError: If a name in either argument is in no line of the table.
        InvalidEnrichmentSettingsError: If a setting is unknown, missing or of a wrong type, or a name is listed twice.

    """
    for name in (*names, *settings):
        if name not in ENRICHMENTS:
            raise UnknownEnrichmentError(f"unknown enrichment {name!r}; known are: {', '.join(ENRICHMENTS)}")
    if len(set(names)) < len(names):
        raise InvalidEnrichmentSettingsError(f"an enrichment is listed twice: {', '.join(names)}")

    steps = tuple(ENRICHMENTS[name].create(read_settings(name, ENRICHMENTS[name].settings, settings.get(name, {}))) for name in names)

    def enrich(message: dict[str, Any]) -> None:
        context = message.get("context")
        if type(context) is dict:
            for step in steps:
                step(context)

    return enrich
