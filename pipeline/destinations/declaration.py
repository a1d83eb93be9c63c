"""What a destination type declares, and what is derived from it (design: a destination)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

Call = Literal["identify", "track", "page", "screen", "group", "alias"]
"""A spec call."""

CALLS: Final[frozenset[str]] = frozenset(("identify", "track", "page", "screen", "group", "alias"))
"""Every spec call."""

_REFERENCE: Final = re.compile(r"\$\{(?:env|file):[^}]*\}")
_SETTING: Final = re.compile(r"\$\{setting:([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Field:
    """A setting of a destination, or a field of an action.

    Attributes:
        name: Name, stable for ever.
        sentence: What it is, for a person.
        kind: What values it takes; `map` is an object of strings.
        required: Whether it must be given.
        secret: Whether its value may appear in no topic, log, metric or error.
        default: A field's default in the mapping language; None for none.
        public: Whether browsers get its value, in device mode: then every visitor can read it.
    """

    name: str
    sentence: str
    kind: Literal["string", "url", "map", "any"] = "string"
    required: bool = False
    secret: bool = False
    default: Any = None
    public: bool = False


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """The request of an action; what the mapping gives becomes its JSON body.

    Attributes:
        method: HTTP method.
        url: URL; `${setting:NAME}` stands for a setting.
        headers: Header names in lower case and values, in which `${setting:NAME}` stands for a setting.
        headers_from: Name of a setting of kind `map` with more headers, or empty.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"content-type": "application/json"}))
    headers_from: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a destination can do with an event.

    Attributes:
        name: Name, stable for ever; also the name of its default mapping.
        sentence: What it does, for a person.
        trigger: FQL query of the default mapping.
        mapping: The default mapping, in the mapping language; a user's mapping replaces it.
        request: The request that it renders.
    """

    name: str
    sentence: str
    trigger: str
    mapping: Mapping[str, Any]
    request: RequestTemplate


@dataclass(frozen=True, slots=True)
class DestinationType:
    """A tool that we can deliver to.

    Attributes:
        slug: Name in workspace files, stable for ever.
        name: Name for a person.
        sentence: What it is, for a person.
        settings: Its settings. One that has public ones knows device mode: its plugin lies beside its declaration, in `browser.js`.
        actions: Its actions; the first one is that of a mapping which names none.
        calls: The spec calls that it takes.
        signing_secret: Setting whose value signs each request after Standard Webhooks, or empty for no signature.
        timeout_seconds: Deadline of one request, at most 30.
    """

    slug: str
    name: str
    sentence: str
    settings: tuple[Field, ...]
    actions: tuple[Action, ...]
    calls: frozenset[str] = CALLS
    signing_secret: str = ""
    timeout_seconds: float = 10.0

    @property
    def public_settings(self) -> tuple[str, ...]:
        """Names of the settings that browsers get; none where it knows no device mode."""
        return tuple(one.name for one in self.settings if one.public)


def settings_schema(destination_type: DestinationType) -> dict[str, Any]:
    """Derive the JSON Schema of a type's settings, as a workspace file writes them.

    Args:
        destination_type: The type.

    Returns:
        A JSON Schema (2020-12) that allows no other keys.
    """
    kinds: dict[str, dict[str, Any]] = {
        "string": {"type": "string", "minLength": 1},
        "url": {"type": "string", "pattern": r"^(https?://[^\s]+|\$\{(env|file):[^}]+\})"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {},
    }
    return {
        "type": "object",
        "properties": {one.name: {**kinds[one.kind], "description": one.sentence} for one in destination_type.settings},
        "required": [one.name for one in destination_type.settings if one.required],
        "additionalProperties": False,
    }


def secret_settings(destination_type: DestinationType, settings: Mapping[str, Any]) -> dict[str, str]:
    """List the settings that are filled in only when a request is sent.

    A setting is one of them when its type declares it a secret, or when its value holds a reference
    (`${env:NAME}`, `${file:PATH}`), so that whatever a user keeps out of the file stays out of the topics.

    Args:
        destination_type: The type.
        settings: Settings as declared.

    Returns:
        The declared text by placeholder name; entries of a map are named `setting.key`.
    """
    secrets: dict[str, str] = {}
    for one in destination_type.settings:
        value = settings.get(one.name)
        if one.public:
            continue  # it is no part of a request of ours
        if isinstance(value, str):
            if one.secret or _REFERENCE.search(value):
                secrets[one.name] = value
        elif isinstance(value, Mapping):
            secrets.update((f"{one.name}.{key}", text) for key, text in value.items() if one.secret or _REFERENCE.search(text))
    return secrets


def settings_with_placeholders(destination_type: DestinationType, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings as they may stand in a topic: `${secret:NAME}` in place of every secret.

    Args:
        destination_type: The type.
        settings: Settings as declared.

    Returns:
        Values by setting name; settings that are not given are left out.
    """
    secrets = secret_settings(destination_type, settings)

    def shown(name: str, value: str) -> str:
        return f"${{secret:{name}}}" if name in secrets else value

    result: dict[str, Any] = {}
    for one in destination_type.settings:
        value = settings.get(one.name)
        if isinstance(value, Mapping):
            result[one.name] = {key: shown(f"{one.name}.{key}", text) for key, text in value.items()}
        elif isinstance(value, str):
            result[one.name] = shown(one.name, value)
    return result


def fill_settings(text: str, settings: Mapping[str, Any]) -> str:
    """Put settings into a text of a request template.

    Args:
        text: Text with `${setting:NAME}`.
        settings: What `settings_with_placeholders` gave.

    Returns:
        The text; a setting that is not given becomes nothing.
    """
    return _SETTING.sub(lambda found: str(settings.get(found.group(1), "")), text)
