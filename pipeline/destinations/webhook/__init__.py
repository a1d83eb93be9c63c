"""Webhook: the event, or what a mapping makes of it, as a signed HTTP POST (source: the Standard Webhooks specification)."""

from __future__ import annotations

from typing import Final

from pipeline.destinations.declaration import Action, DestinationType, Field, RequestTemplate

DESTINATION: Final = DestinationType(
    slug="webhook",
    name="Webhook",
    sentence="Any HTTP endpoint: gets each event as JSON, signed after Standard Webhooks.",
    settings=(
        Field("url", "Address that each event is sent to with POST.", kind="url", required=True),
        Field(
            "shared_secret",
            "Secret that signs each request: `whsec_` and base64 after Standard Webhooks, or any other text as it stands.",
            secret=True,
        ),
        Field("browser_url", "Address that browsers send events to, in device mode. Every visitor can read it.", kind="url", public=True),
        Field("headers", "Headers that are sent with each request, by name.", kind="map"),
    ),
    actions=(
        Action(
            name="send",
            sentence="Sends the event.",
            trigger='type = "identify" or type = "track" or type = "page" or type = "screen" or type = "group" or type = "alias"',
            mapping={"@path": "$."},
            request=RequestTemplate("POST", "${setting:url}", headers_from="headers"),
        ),
    ),
    signing_secret="shared_secret",  # noqa: S106 (the name of a setting, not a secret)
)
