"""Whose a write key is. Keys are looked up by their SHA-256, so that how long it takes says nothing about how much of a guess is right (T60)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pipeline.ingest.credentials import basic_key

_FINGERPRINT_CHARACTERS: Final = 8
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Holder(NamedTuple):
    """Who holds a write key.

    Attributes:
        source: Source id.
        fingerprint: The key's name in metrics and lists, from which nobody gets the key.
        enabled: Whether the key still opens anything.
    """

    source: str
    fingerprint: str
    enabled: bool = True


def fingerprint_of(key: str) -> str:
    """Name a key without showing it.

    Args:
        key: The write key.

    Returns:
        The first 8 hexadecimal digits of its SHA-256.
    """
    return sha256(key.encode("utf-8", "replace")).hexdigest()[:_FINGERPRINT_CHARACTERS]


class WriteKeys:
    """The write keys of a workspace at one version; only their digests are kept.

    Args:
        sources: Source id by write key.
        disabled: The same for keys that were disabled: they open nothing, and whoever still uses one is counted.
    """

    __slots__ = ("_by_header", "_by_key")

    def __init__(self, sources: Mapping[str, str], disabled: Mapping[str, str] = _NONE) -> None:
        self._by_key: dict[bytes, Holder] = {}
        self._by_header: dict[bytes, Holder] = {}
        for keys, enabled in ((sources, True), (disabled, False)):
            for key, source in keys.items():
                self._add(key, Holder(source, fingerprint_of(key), enabled))

    def _add(self, key: str, holder: Holder) -> None:
        self._by_key[_digest(key)] = holder
        self._by_header[_digest(_basic(key))] = holder

    def without(self, key: str) -> WriteKeys:
        """Give the same keys but one.

        Args:
            key: The key that is left out.

        Returns:
            The others.
        """
        others = WriteKeys({})
        others._by_key = {one: holder for one, holder in self._by_key.items() if one != _digest(key)}
        others._by_header = {one: holder for one, holder in self._by_header.items() if one != _digest(_basic(key))}
        return others

    def of_header(self, authorization: str | None) -> Holder | None:
        """Find the holder of the key in an Authorization header.

        Args:
            authorization: Its value.

        Returns:
            The holder, or None.
        """
        if authorization is None:
            return None
        holder = self._by_header.get(sha256(authorization.encode("utf-8", "replace")).digest())
        if holder is not None and holder.enabled:
            return holder
        other = self.of(basic_key(authorization))  # also for a disabled key, so that a guess at one takes as long as any
        return holder or other

    def of(self, key: Any) -> Holder | None:  # noqa: ANN401 (a write key in a body may be any JSON value)
        """Find the holder of a key.

        Args:
            key: The key; what is not a non-empty string has none.

        Returns:
            The holder, or None.
        """
        return self._by_key.get(_digest(key)) if key.__class__ is str and key else None


def first(*holders: Holder | None) -> Holder | None:
    """Choose among the holders of the keys that a request carries.

    Args:
        holders: In the order in which they count.

    Returns:
        The first with an enabled key, else the first at all, else None.
    """
    found = None
    for holder in holders:
        if holder is not None:
            if holder.enabled:
                return holder
            found = found or holder
    return found


def _basic(key: str) -> str:
    """Write the Authorization header that an SDK sends for a key."""
    return f"Basic {b64encode(f'{key}:'.encode()).decode()}"


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
