"""The topic `config`: a workspace out and the same one back, and what a reader makes of remains and faults."""

from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.declaration import ConfigFold, Parking, config_records, parking_record
from pipeline.model.workspace import Destination, Filter, MappingDeclaration, Source, Storage, Workspace
from tests.unit.declaration.cases import SHOP, WORKSPACE_SCHEMA, load

_IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,5}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
_NAMES = st.lists(_TEXTS, max_size=2).map(tuple)
_SETTINGS = st.dictionaries(_TEXTS, _TEXTS | st.integers(0, 9) | st.lists(_TEXTS, max_size=2), max_size=2)
_SOURCES = st.builds(
    Source,
    id=_IDS,
    write_keys=st.sampled_from([(), ("${env:A}",), ("abcdefgh", "${file:/b}")]),
    enabled=st.booleans(),
    anonymize_ip=st.booleans(),
    event_bytes=st.integers(1024, 65536),
    schemas=st.dictionaries(_TEXTS, st.just({"type": "object"}), max_size=2),
    on_violation=st.sampled_from(["tag", "dead"]),
)
_DESTINATIONS = st.builds(
    Destination,
    id=_IDS,
    type=_IDS,
    sources=_NAMES,
    enabled=st.booleans(),
    settings=_SETTINGS,
    mappings=st.lists(
        st.builds(MappingDeclaration, name=_IDS, trigger=_TEXTS, fields=_SETTINGS, action=st.sampled_from(["", "send"])), max_size=2
    ).map(tuple),
    filters=st.lists(st.builds(Filter, query=_TEXTS), max_size=2).map(tuple),
    events=_NAMES,
    except_events=_NAMES,
    rate=st.none() | st.floats(0.5, 100),
    concurrency=st.integers(1, 1000),
)
_STORAGE = st.builds(Storage, id=_IDS, type=_IDS, sources=_NAMES, settings=_SETTINGS)
_WORKSPACES = st.builds(
    Workspace,
    name=_IDS,
    sources=st.lists(_SOURCES, max_size=2).map(lambda items: {item.id: item for item in items}),
    destinations=st.lists(_DESTINATIONS, max_size=2).map(lambda items: {item.id: item for item in items}),
    storage=st.lists(_STORAGE, max_size=2).map(lambda items: {item.id: item for item in items}),
    default_source=st.sampled_from(["", "web"]),
    enrichments=st.dictionaries(_TEXTS, _SETTINGS, max_size=2),
)


def _fold(*records: tuple[bytes | None, bytes | None]) -> ConfigFold:
    fold = ConfigFold(WORKSPACE_SCHEMA)
    for key, value in records:
        fold.take(key, value)
    return fold


@settings(deadline=None)  # a busy machine decides nothing
@given(_WORKSPACES, st.integers(1, 9_999_999_999))
def test_a_workspace_comes_back_as_it_was(workspace: Workspace, version: int) -> None:
    """Records and back gives an equal workspace, with the version that it got."""
    fold = _fold(*config_records(workspace, version, at_ms=7))
    assert fold.workspace == replace(workspace, version=version)
    assert (fold.newest, fold.committed_at_ms, fold.refused) == (version, 7, {})


def test_the_keys_are_those_of_the_contract() -> None:
    """Version in ten digits, kind and id; the commit record is last and counts the others."""
    records = config_records(load(SHOP), 7, at_ms=5)
    assert [key for key, _ in records] == [
        b"0000000007/workspace/shop",
        b"0000000007/source/web",
        b"0000000007/destination/crm",
        b"0000000007/storage/lake",
        b"0000000007/commit",
    ]
    assert orjson.loads(records[-1][1]) == {"version": 7, "at": 5, "objects": 4}


def test_a_version_counts_from_its_commit_record() -> None:
    """`take` says when the workspace has changed: at the commit, not before."""
    fold = ConfigFold(WORKSPACE_SCHEMA)
    assert [fold.take(key, value) for key, value in config_records(load(SHOP), 1, at_ms=0)] == [False, False, False, False, True]


def test_a_version_without_commit_is_ignored() -> None:
    """Remains of a version that was never ended change nothing."""
    fold = _fold(*config_records(load(SHOP), 1, at_ms=0), *config_records(load("workspace: other\n"), 2, at_ms=0)[:-1])
    assert fold.workspace is not None
    assert (fold.workspace.version, fold.newest) == (1, 1)


def test_remains_of_an_older_version_are_forgotten() -> None:
    """A commit ends the wait for all versions below it; a commit that comes late for one of them finds nothing."""
    fold = _fold(*config_records(load("workspace: other\n"), 1, at_ms=0)[:-1], *config_records(load(SHOP), 2, at_ms=0))
    assert not fold.take(*config_records(load("workspace: other\n"), 1, at_ms=0)[-1])
    assert fold.workspace == replace(load(SHOP), version=2)


def test_the_last_good_version_stays_when_one_is_bad() -> None:
    """Missing objects, no JSON, a wrong shape: each is refused with its reason, and its number is used up."""
    good = config_records(load(SHOP), 1, at_ms=0)
    short = config_records(load(SHOP), 2, at_ms=0)[1:]
    broken = [(key, b"{" if b"/source/" in key else value) for key, value in config_records(load(SHOP), 3, at_ms=0)]
    strange = [(key, b'{"id": "web", "colour": 1}' if b"/source/" in key else value) for key, value in config_records(load(SHOP), 4, at_ms=0)]
    listed = [(key, b"[]" if b"/source/" in key else value) for key, value in config_records(load(SHOP), 5, at_ms=0)]
    fold = _fold(*good, *short, *broken, *strange, *listed)
    assert fold.workspace is not None
    assert (fold.workspace.version, fold.newest) == (1, 5)
    assert list(fold.refused) == [2, 3, 4, 5]
    assert fold.refused[2] == "3 of 4 objects were found"
    assert fold.refused[4] == "sources[0].colour unknown key colour"


def test_an_older_version_that_comes_late_changes_nothing() -> None:
    """Only a higher version replaces the one in force."""
    fold = _fold(*config_records(load(SHOP), 2, at_ms=0), *config_records(load("workspace: other\n"), 1, at_ms=0))
    assert fold.workspace is not None
    assert (fold.workspace.name, fold.workspace.version) == ("shop", 2)


def test_records_of_others_and_tombstones_are_passed_over() -> None:
    """No key, a foreign key, a kind of a newer release, an object deleted before its commit."""
    own = config_records(load(SHOP), 1, at_ms=0)
    future = [*own[:-1], (b"0000000001/journey/j", b"{}"), (own[-1][0], orjson.dumps({"version": 1, "at": 0, "objects": 5}))]
    foreign: list[tuple[bytes | None, bytes | None]] = [(None, b"{}"), (b"hello", b"{}"), (b"0000000009/source/gone", None)]
    fold = _fold(*foreign, *future)
    assert fold.workspace == replace(load(SHOP), version=1)


def test_the_last_command_to_park_or_resume_counts() -> None:
    """A command stands beside the versions, survives a new one, and the last one for a destination counts; what is no command is passed over."""
    fold = _fold(
        parking_record("crm", parked=True, at_ms=5),
        *config_records(load(SHOP), 1, at_ms=6),
        parking_record("orders", parked=True, at_ms=7),
        parking_record("crm", parked=False, at_ms=8),
        (b"parked/orders", b"nonsense"),
    )
    assert {"crm": Parking(parked=False, at_ms=8), "orders": Parking(parked=True, at_ms=7)} == fold.parkings
    assert fold.workspace is not None
    assert 1 == fold.workspace.version
