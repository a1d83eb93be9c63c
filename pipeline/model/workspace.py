"""What a workspace declares: sources, destinations and storage, as plain values (design: what a workspace declares)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipeline.model import limits

ID_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What an id of a source, destination, storage or workspace looks like; it becomes part of topic names."""

DEMO_WRITE_KEY: Final = "demo"
"""Write key of the demo workspace; works on loopback only."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """Who gets access tokens for a source, beside or in place of its write keys.

    Attributes:
        client_id: Id of the client.
        public_keys: Its public keys in PEM by key id, or references to them; two while one follows the other.
        audience: What its assertions must be meant for; empty for the host that they are sent to.
        token_seconds: How long its tokens live.
    """

    client_id: str
    public_keys: Mapping[str, str]
    audience: str = ""
    token_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Signature:
    """How a sender of webhooks signs what it sends: always HMAC-SHA256.

    Attributes:
        header: Header with the signatures, in lower case.
        signed: What is signed: a text with `{body}`, `{timestamp}` and `{header:NAME}` in it.
        encoding: How a signature is written.
        key: What the secret stands for: itself (`text`), or what follows `whsec_` in base64 (`whsec`).
        separator: What stands between the parts of the header's value; empty where it has only one.
        prefix: What a part that is a signature begins with.
        timestamp_header: Header with the time of signing, in lower case; empty where the time is not signed.
        timestamp_prefix: What a part of that header's value that is the time begins with.
        tolerance_seconds: How far the time of signing may be from now.
    """

    header: str
    signed: str = "{body}"
    encoding: Literal["hex", "base64"] = "hex"
    key: Literal["text", "whsec"] = "text"
    separator: str = ""
    prefix: str = ""
    timestamp_header: str = ""
    timestamp_prefix: str = ""
    tolerance_seconds: int = 300


@dataclass(frozen=True, slots=True)
class MappingDeclaration:
    """One mapping of a destination or of a webhook source: when it fires and what it renders.

    Attributes:
        name: Name, stable for ever; unique in its destination or source.
        trigger: FQL query.
        fields: The mapping, in the mapping language.
        action: Name of the destination's action; empty for a source.
    """

    name: str
    trigger: str
    fields: Mapping[str, Any]
    action: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from.

    Attributes:
        id: Id, stable for ever.
        write_keys: Write keys, or references to them (`${env:NAME}`, `${file:PATH}`).
        enabled: Whether its events are taken.
        anonymize_ip: Whether IP addresses are shortened.
        event_bytes: Largest event in bytes of compact UTF-8 JSON.
        schemas: JSON Schema of the source's own track events, by event name.
        on_violation: What happens to an event that does not satisfy its schema.
        disabled_keys: Write keys, or references to them, that open nothing any more.
        origins: Origins of the only web pages that may send to it; empty for all.
        rate: Most events a second, or None for no limit.
        burst: Most events at once above the rate; None for what comes in two seconds.
        oauth: Who gets access tokens for it, or None.
        type: `tracking`: it sends calls of the spec. `webhook`: another product sends it deliveries of its own form.
        preset: Whose deliveries a webhook source takes; empty for any sender's (`generic`).
        secrets: References to the secrets that sign its deliveries; several while one follows the other.
        signature: How its deliveries are signed; None for the preset's own.
        message_id: Mapping that gives a delivery's id; None for the preset's own.
        event_name: Mapping that gives a delivery's event; None for the preset's own.
        mappings: What its deliveries become; empty for the preset's own.
    """

    id: str
    write_keys: tuple[str, ...] = ()
    enabled: bool = True
    anonymize_ip: bool = False
    event_bytes: int = limits.EVENT_BYTES
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    on_violation: Literal["tag", "dead"] = "tag"
    disabled_keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    rate: float | None = None
    burst: int | None = None
    oauth: OAuth | None = None
    type: Literal["tracking", "webhook"] = "tracking"
    preset: str = ""
    secrets: tuple[str, ...] = ()
    signature: Signature | None = None
    message_id: Any = None
    event_name: Any = None
    mappings: tuple[MappingDeclaration, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule of a destination: events that satisfy the query are dropped."""

    query: str
    then: Literal["drop"] = "drop"


@dataclass(frozen=True, slots=True)
class Destination:
    """A tool that events are delivered to.

    Attributes:
        id: Id, stable for ever.
        type: Slug of its type in the registry.
        sources: Ids of the sources that it takes events from.
        enabled: Whether events are routed to it.
        settings: Its settings, with secrets as references.
        mappings: Its mappings; empty for the type's own.
        filters: Rules that drop events.
        events: Names of the only track events that it takes; empty for all.
        except_events: Names of track events that it does not take.
        rate: Most requests a second, or None for the type's own.
        concurrency: Most requests at once.
        order: What stays in order: `key`, requests of one device or anonymous person, as long as none has to be tried again;
            `user`, all requests of one user, also through retries.
        mode: Who sends: `cloud`, we do; `device`, the visitor's browser does, and we what no browser has sent.
    """

    id: str
    type: str
    sources: tuple[str, ...] = ()
    enabled: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    mappings: tuple[MappingDeclaration, ...] = ()
    filters: tuple[Filter, ...] = ()
    events: tuple[str, ...] = ()
    except_events: tuple[str, ...] = ()
    rate: float | None = None
    concurrency: int = 16
    order: Literal["key", "user"] = "key"
    mode: Literal["cloud", "device"] = "cloud"


@dataclass(frozen=True, slots=True)
class Storage:
    """A lake or warehouse that events are stored in.

    Attributes:
        id: Id, stable for ever.
        type: Slug of its type in the registry (`parquet`).
        sources: Ids of the sources whose events it stores.
        settings: Its settings, with secrets as references.
    """

    id: str
    type: str
    sources: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Everything that is declared, at one version.

    Attributes:
        name: Prefix of topics, groups and transactional ids.
        version: Version of the configuration, from 1; 0 before the first.
        sources: Sources by id.
        destinations: Destinations by id.
        storage: Lakes and warehouses by id.
        default_source: Source of raw records that name none, or empty.
        enrichments: Settings of the enrichments by name (`geo: {path: …}`).
    """

    name: str
    version: int = 0
    sources: Mapping[str, Source] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    storage: Mapping[str, Storage] = field(default_factory=dict)
    default_source: str = ""
    enrichments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
