"""Reads what is declared from the disk and checks it against what exists: the workspace's files, and topologies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from pipeline.app.settings import Secrets, SettingError, Settings, read_schema, topology_file
from pipeline.declaration import ConfigFold, DeclaredFile, TopologyRules, TypeRules, WorkspaceRules, load_topology, load_workspace, references_in
from pipeline.declaration.yaml_text import Document, parse_yaml
from pipeline.deliver.addresses import leads_inside
from pipeline.destinations.declaration import settings_schema
from pipeline.ingest.oauth import public_key
from pipeline.mapping import compile_mapping, compile_query
from pipeline.model.topology import Topology
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.registry import DESTINATION_TYPES, ENRICHMENTS, SOURCE_PRESETS, STEPS, STORAGE_TYPES

WORKSPACE_FILE: Final = "workspace.yaml"


def workspace_rules() -> WorkspaceRules:
    """Say what workspaces are checked against."""
    return WorkspaceRules(
        schema=read_schema("workspace"),
        destinations={
            slug: TypeRules(
                settings_schema(one),
                tuple(setting.name for setting in one.settings if setting.secret),
                tuple(action.name for action in one.actions),
                one.public_settings,
            )
            for slug, one in DESTINATION_TYPES.items()
        },
        storage={slug: TypeRules(schema) for slug, schema in STORAGE_TYPES.items()},
        enrichments=tuple(ENRICHMENTS),
        compile_query=compile_query,
        compile_mapping=compile_mapping,
        read_public_key=public_key,
        presets=SOURCE_PRESETS,
    )


def topology_rules() -> TopologyRules:
    """Say what topologies are checked against."""
    return TopologyRules(read_schema("topology"), {name: step.lanes for name, step in STEPS.items()}, tuple(ENRICHMENTS))


def config_fold() -> ConfigFold:
    """Make a follower of the topic `config`, with nothing in it yet."""
    return ConfigFold(read_schema("workspace"))


def find_workspace(given: str, settings: Settings) -> Path:
    """Find the workspace: what is given, else `workspace.yaml` in the current folder, else the one in the home.

    Args:
        given: Path of a file or folder, or empty.
        settings: The settings.

    Returns:
        Path of a file or folder that exists.

    Raises:
        SettingError: There is none.
    """
    if given:
        if not Path(given).exists():
            raise SettingError(f"there is no file or folder {given}: check the path, or make one with `headrace init {given}`")
        return Path(given)
    for path in (Path(WORKSPACE_FILE), settings.home / WORKSPACE_FILE):
        if path.is_file():
            return path
    raise SettingError(f"there is no {WORKSPACE_FILE} here: make one with `headrace init`, or name yours with --workspace PATH")


def workspace_files(path: Path) -> list[Path]:
    """List the files of a workspace.

    Args:
        path: A file, or a folder whose `*.yaml` and `*.yml` are taken in the order of their names.

    Returns:
        The files.

    Raises:
        SettingError: The folder holds none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for ending in ("*.yaml", "*.yml") for file in path.glob(ending))
    if not files:
        raise SettingError(f"the folder {path} holds no .yaml file")
    return files


def read_workspace(path: Path, changed: Mapping[Path, str] = MappingProxyType({})) -> Workspace:
    """Read and check a workspace.

    Args:
        path: A file or folder.
        changed: Texts by file that are taken in place of those on the disk: what a change would make of them.

    Returns:
        The workspace, at version 0.

    Raises:
        DeclarationError: With all problems.
        SettingError: A file cannot be read.
    """
    files = [
        DeclaredFile(str(file), changed[file] if file in changed else read_text(file), str(file.absolute().parent)) for file in workspace_files(path)
    ]
    return load_workspace(files, workspace_rules(), _read_beside)


def read_topology(name: str) -> Topology:
    """Read and check a topology.

    Args:
        name: Path of a file, or the name of one that comes with the product.

    Returns:
        The topology.

    Raises:
        DeclarationError: With all problems.
        SettingError: There is no such file, or it cannot be read.
    """
    path = topology_file(name)
    return load_topology(read_text(path), str(path), topology_rules())


def read_text(path: Path) -> str:
    """Read a declared file.

    Raises:
        SettingError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not UTF-8 text") from None


def _read_beside(file: str, name: str) -> bytes | None:
    try:
        return (Path(file).parent / name).read_bytes()
    except OSError:
        return None


def workspace_name(path: Path) -> str:
    """Read nothing but a workspace's name, so that one with faults can still be looked into.

    Args:
        path: A file or folder.

    Returns:
        The name.

    Raises:
        SettingError: No file names the workspace.
    """
    for file in workspace_files(path):
        document = parse_yaml(read_text(file), str(file))
        name = document.data.get("workspace") if isinstance(document, Document) and isinstance(document.data, dict) else None
        if isinstance(name, str) and name:
            return name
    raise SettingError(f"{path} names no workspace: run `headrace check`")


def unheard_sources(workspace: Workspace) -> list[str]:
    """Name the sources whose events go nowhere: no destination and no storage names them, so all are dropped as `no_route`.

    Args:
        workspace: The workspace.

    Returns:
        A sentence for each, which says what to do.
    """
    heard = {source for one in _configured(workspace) for source in one.sources}
    return [
        f"nothing takes the events of {source.id}: name it in sources of a destination or a storage"
        for source in workspace.sources.values()
        if source.enabled and source.id not in heard
    ]


def missing_secrets(workspace: Workspace, secrets: Secrets, given: Collection[str] = ()) -> list[str]:
    """Name the references that lead nowhere on this machine; elsewhere they may.

    Args:
        workspace: The workspace.
        secrets: What resolves references.
        given: Names of variables that the run sets itself.

    Returns:
        A sentence for each, which says what to do.
    """
    missing: dict[str, None] = {}
    for text in _texts([*map(_of_source, workspace.sources.values()), *(one.settings for one in _configured(workspace))]):
        for reference in references_in(text):
            if reference.kind == "env" and reference.name in given:
                continue
            try:
                secrets.resolve(reference.text)
            except SettingError as error:
                missing[str(error)] = None
    return list(missing)


def unusable_keys(workspace: Workspace, secrets: Secrets) -> list[str]:
    """Name the public keys whose reference leads to what is no key on this machine.

    Args:
        workspace: The workspace.
        secrets: What resolves references.

    Returns:
        A sentence for each; those that lead nowhere are `missing_secrets`.
    """
    found = []
    for source in workspace.sources.values():
        for key_id, reference in source.oauth.public_keys.items() if source.oauth is not None else ():
            try:
                pem = secrets.resolve(reference)
            except SettingError:
                continue
            if fault := workspace_rules().key_fault(pem):
                found.append(f"{reference}, the public key {key_id} of {source.id}, {fault}: its tokens are refused until it is one")
    return found


def private_urls(workspace: Workspace, locate: Callable[[Sequence[str | int]], str]) -> list[str]:
    """Name the URLs of destinations that lead into our own network, as far as that is to be seen without asking a resolver.

    Args:
        workspace: The workspace.
        locate: Says where something stands in the workspace's files, as `rule_places` does.

    Returns:
        A sentence for each, with its place and what to do.
    """
    found: list[str] = []
    for one in workspace.destinations.values():
        for field in DESTINATION_TYPES[one.type].settings:
            host = _host(one.settings.get(field.name)) if field.kind == "url" else ""
            if host and leads_inside(host):
                place = locate(("destinations", one.id, "settings", field.name))
                at = f"{place}: " if place else ""
                found.append(
                    f"{at}the {field.name} of {one.id} leads to {host}, which is not public: a process that listens on more than loopback sends "
                    f"nothing there and parks {one.id}; give a public address, or set HEADRACE_PRIVATE_DESTINATIONS=allow for it"
                )
    return found


def _host(url: object) -> str:
    try:
        return urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:  # a broken IPv6 address
        return ""


def _of_source(source: Source) -> list[Any]:
    return [source.write_keys, source.disabled_keys, source.secrets, source.oauth.public_keys if source.oauth is not None else ()]


def _configured(workspace: Workspace) -> list[Destination | Storage]:
    return [*workspace.destinations.values(), *workspace.storage.values()]


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
