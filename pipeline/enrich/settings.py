"""Reading of an enrichment's settings as a topology or workspace gives them: what is wrong is said at start."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

__all__ = ["EnrichmentError", "InvalidEnrichmentSettingsError", "read_settings"]

Settings = TypeVar("Settings")


class EnrichmentError(ValueError):
    """A list of enrichments, or the settings of one, can't be used."""


class InvalidEnrichmentSettingsError(EnrichmentError):
    """A setting of an enrichment is unknown, missing or of a wrong type."""


def read_settings(enrichment: str, kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make an enrichment's settings from plain values.

    Args:
        enrichment: Its name, for the message.
        kind: Frozen dataclass whose fields are flags, whole numbers above zero, or functions.
        given: Values by name; those with a default may be missing.

    Returns:
        The settings.

    Raises:
        InvalidEnrichmentSettingsError: If a value is unknown, missing or of a wrong type.

    """
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # any dataclass
    types = get_type_hints(kind)
    for name in given:
        if name not in known:
            raise InvalidEnrichmentSettingsError(f"enrichment {enrichment!r} has no setting {name!r}; it has: {', '.join(known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING:
            raise InvalidEnrichmentSettingsError(f"enrichment {enrichment!r} needs the setting {name!r}")
        if name in given and (wanted := _mismatch(types[name], given[name])) is not None:
            raise InvalidEnrichmentSettingsError(f"setting {name!r} of enrichment {enrichment!r} must be {wanted}, not {given[name]!r}")

    return kind(**given)


def _mismatch(wanted: object, given: object) -> str | None:
    """Say what a value should be; None where it is that."""
    if wanted is bool:
        return None if type(given) is bool else "true or false"
    if wanted is int:
        return None if type(given) is int and given > 0 else "a whole number above zero"

    return None if callable(given) else "a function"
