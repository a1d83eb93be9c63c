"""The `config` topic: a workspace as records, and records as the newest workspace that was written whole.

Keys: `0000000007/destination/crm` for the objects of version 7, and `0000000007/commit` for the record that ends it, whose value
says how many objects there are. All of a version is one transaction, yet a reader of a compacted topic may find remains of old
versions; only what is complete counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from pipeline.declaration.objects import object_data, workspace_of
from pipeline.declaration.problems import path_text
from pipeline.declaration.shape import shape_faults
from pipeline.model import limits
from pipeline.model.workspace import Workspace

COMMIT: Final = "commit"
PARKED: Final = "parked/"
"""What a key begins with that says whether a destination is parked by command; it belongs to no version."""
_LISTS: Final = {"source": "sources", "destination": "destinations", "storage": "storage"}


def config_records(workspace: Workspace, version: int, *, at_ms: int) -> list[tuple[bytes, bytes]]:
    """Write a workspace as records of the topic `config`.

    Args:
        workspace: What is declared.
        version: The version that it becomes, from 1.
        at_ms: Wall time in milliseconds since the epoch.

    Returns:
        Keys and values in order, the commit record last.
    """
    about = {
        "workspace": workspace.name,
        "default_source": workspace.default_source,
        "enrichments": {name: dict(value) for name, value in workspace.enrichments.items()},
    }
    objects: list[tuple[str, dict[str, Any]]] = [(f"workspace/{workspace.name}", about)]
    objects += [(f"source/{source.id}", object_data(source)) for source in workspace.sources.values()]
    objects += [(f"destination/{destination.id}", object_data(destination)) for destination in workspace.destinations.values()]
    objects += [(f"storage/{storage.id}", object_data(storage)) for storage in workspace.storage.values()]
    objects.append((COMMIT, {"version": version, "at": at_ms, "objects": len(objects)}))
    return [(f"{version:010d}/{name}".encode(), orjson.dumps(data)) for name, data in objects]


class Parking(NamedTuple):
    """The last command about whether a destination takes requests.

    Attributes:
        parked: Whether it is parked.
        at_ms: When the command was given, milliseconds since the epoch.
        anew_below: Requests that were rendered by an older version than this are translated anew; 0 for none.
    """

    parked: bool
    at_ms: int
    anew_below: int = 0


def parking_record(destination: str, *, parked: bool, at_ms: int, anew_below: int = 0) -> tuple[bytes, bytes]:
    """Write that a destination is parked or resumed as a record of the topic `config`.

    Args:
        destination: Destination id.
        parked: Whether it is parked from now on.
        at_ms: Wall time in milliseconds since the epoch.
        anew_below: Requests that were rendered by an older version than this are translated anew; 0 for none.

    Returns:
        Key and value.
    """
    return f"{PARKED}{destination}".encode(), orjson.dumps({"parked": parked, "at": at_ms, **({"anew_below": anew_below} if anew_below else {})})


class ConfigFold:
    """Follows the records of `config` in order and holds the newest version that is complete and sound.

    Attributes:
        workspace: That version, or None before the first.
        committed_at_ms: When it was written, milliseconds since the epoch; 0 before the first.
        newest: Highest version that has a commit record, sound or not; 0 before the first. The next one to write is one higher.
        parkings: The last command to park or resume, by destination id; a new mapping after each command.
        bytes: Size of the version that `workspace` is, 0 before the first.
        refused: Why versions were passed over, by version, newest last; the last good one stays in force.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Begin with nothing.

        Args:
            schema: The content of `schemas/workspace.json`.
        """
        self.workspace: Workspace | None = None
        self.committed_at_ms = 0
        self.newest = 0
        self.refused: dict[int, str] = {}
        self.bytes = 0
        self.parkings: Mapping[str, Parking] = {}
        self._schema = schema
        self._open: dict[int, dict[str, bytes]] = {}
        self._sizes: dict[int, int] = {}

    @property
    def open_bytes(self) -> int:
        """Size of what was read of versions that have not ended yet."""
        return sum(self._sizes.values())

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Take the next record.

        Args:
            key: Its key; records that are not ours are ignored.
            value: Its value, or None for a tombstone.

        Returns:
            True when `workspace` is another one now.
        """
        if key is not None and key.startswith(PARKED.encode()):
            self._park(key.decode("utf-8", "replace").removeprefix(PARKED), value)
            return False
        version, name = _split(key)
        if not version:
            return False
        if value is None:
            self._open.get(version, {}).pop(name, None)
            return False
        if name != COMMIT:
            self._keep(version, name, value)
            return False
        objects = self._open.pop(version, {})
        size = self._sizes.pop(version, 0)
        for older in [one for one in self._sizes if one < version]:
            self._open.pop(older, None)
            del self._sizes[older]
        self.newest = max(self.newest, version)
        if self.workspace is not None and version <= self.workspace.version:
            return False
        return self._commit(version, objects, size, value)

    def _keep(self, version: int, name: str, value: bytes) -> None:
        self._sizes[version] = self._sizes.get(version, 0) + len(name) + len(value)
        if self._sizes[version] > limits.CONFIG_BYTES:
            self._open.pop(version, None)  # it will be refused: none of it is kept, however much comes
        else:
            self._open.setdefault(version, {})[name] = value

    def _park(self, destination: str, value: bytes | None) -> None:
        try:
            said = _object(value or b"{}")
        except ValueError:
            return
        at, below = (value if isinstance(value := said.get(name), int) else 0 for name in ("at", "anew_below"))
        self.parkings = {**self.parkings, destination: Parking(said.get("parked") is True, at, below)}

    def _commit(self, version: int, objects: Mapping[str, bytes], size: int, value: bytes) -> bool:
        if size > limits.CONFIG_BYTES:
            self.refused[version] = f"it has {size} bytes, and {limits.CONFIG_BYTES} are the most"
            return False
        try:
            commit = _object(value)
            data = _assembled(objects)
        except ValueError as error:
            self.refused[version] = f"not JSON: {error}"
            return False
        if commit.get("objects") != len(objects):
            self.refused[version] = f"{len(objects)} of {commit.get('objects')} objects were found"
            return False
        faults = shape_faults(data, self._schema)
        if faults:
            self.refused[version] = f"{path_text(faults[0].path)} {faults[0].message}".strip()
            return False
        self.workspace = workspace_of(data, version)
        self.bytes = size
        at = commit.get("at")
        self.committed_at_ms = at if isinstance(at, int) else 0
        return True


class DestinationHistory:
    """Follows the records of `config` in order and remembers since which version each destination has been as it is.

    Attributes:
        since: That version by destination; one that was left out in between counts from its return.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.since: dict[str, int] = {}
        self._open: dict[int, dict[str, bytes]] = {}
        self._known: dict[str, bytes] = {}

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take the next record.

        Args:
            key: Its key; records that are not ours are ignored.
            value: Its value, or None for a tombstone.
        """
        version, name = _split(key)
        if not version or value is None:
            return
        kind, _, ident = name.partition("/")
        if kind == "destination":
            self._open.setdefault(version, {})[ident] = value
        elif name == COMMIT:
            declared = self._open.pop(version, {})
            self.since = {one: self.since[one] if self._known.get(one) == text else version for one, text in declared.items()}
            self._known = declared


def _split(key: bytes | None) -> tuple[int, str]:
    """Take a key apart; version 0 where it is none of ours."""
    number, _, name = (key or b"").decode("utf-8", "replace").partition("/")
    return (int(number), name) if len(number) == _DIGITS and number.isascii() and number.isdigit() and name else (0, "")


_DIGITS: Final = 10


def _object(value: bytes) -> dict[str, Any]:
    data = orjson.loads(value)
    if not isinstance(data, dict):
        reason = "an object is expected"
        raise ValueError(reason)  # noqa: TRY004 (what is wrong is the text that was read, as with a JSONDecodeError)
    return data


def _assembled(objects: Mapping[str, bytes]) -> dict[str, Any]:
    """Put the objects of one version together as one declaration."""
    data: dict[str, Any] = {name: [] for name in _LISTS.values()}
    for name, value in objects.items():
        kind, _, _ = name.partition("/")
        if kind == "workspace":
            about = _object(value)
            data |= about
        elif kind in _LISTS:
            data[_LISTS[kind]].append(_object(value))
        # An object of a kind that this release does not know belongs to a newer one: it changes nothing here.
    return data
