"""From the text of a workspace's files to a `Workspace`, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.declaration.event_schemas import SchemaFault, check_schema, parse_schema
from pipeline.declaration.objects import workspace_of
from pipeline.declaration.problems import DeclarationError, Path, Problem, did_you_mean
from pipeline.declaration.references import anchored, references_in
from pipeline.declaration.rules import TypeRules, WorkspaceRules
from pipeline.declaration.settings_check import check_settings
from pipeline.declaration.shape import shape_faults
from pipeline.declaration.webhook_sources import webhook_faults
from pipeline.declaration.yaml_text import Document, parse_yaml
from pipeline.model.workspace import DEMO_WRITE_KEY, Workspace

ReadSchema = Callable[[str, str], bytes | None]
"""Reads a file that a declaration names: name of the declaring file, path as written there; None where there is none."""

_LISTS: Final = ("sources", "destinations", "storage")


class DeclaredFile(NamedTuple):
    """One file of a workspace.

    Attributes:
        name: Its name, for problems and for paths beside it.
        text: Its text.
        folder: Absolute path of the folder that it lies in, from which `${file:…}` counts; empty where it lies in none.
    """

    name: str
    text: str
    folder: str = ""


class _Item(NamedTuple):
    """One declared source, destination or storage and where it stands."""

    document: Document
    path: Path
    data: dict[str, Any]

    def problem(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Problem:
        return self.document.problem((*self.path, *path), message, hint, key=key)


def load_workspace(files: Sequence[DeclaredFile], rules: WorkspaceRules, read: ReadSchema) -> Workspace:
    """Read and check a workspace.

    Args:
        files: Its files; what lists they hold is put together in this order.
        rules: What exists: types, their settings, enrichments, and the compilers of queries and mappings.
        read: Reads the JSON Schemas that sources name.

    Returns:
        The workspace, at version 0, with the schemas inlined.

    Raises:
        DeclarationError: With all problems. What has not the right shape is not looked at further.
    """
    problems: list[Problem] = []
    documents: list[Document] = []
    for file in files:
        parsed = parse_yaml(file.text, file.name)
        if isinstance(parsed, Document):
            documents.append(parsed._replace(data=anchored(parsed.data, file.folder)) if file.folder else parsed)
        else:
            problems += parsed
    problems += [problem for document in documents for problem in _shape_problems(document, rules)]
    if problems:
        raise DeclarationError(problems)
    data = _merged(documents, problems)
    _check_objects(_Objects.of(documents), rules, read, data, problems)
    if problems:
        raise DeclarationError(problems)
    return workspace_of(data)


def _shape_problems(document: Document, rules: WorkspaceRules) -> list[Problem]:
    schema = {**rules.schema, "required": []}  # one file of several need not name the workspace; `_merged` asks for one that does
    return [
        document.problem(fault.path, fault.message, fault.hint, key=fault.key)
        for fault in shape_faults({} if document.data is None else document.data, schema)
    ]


def _merged(documents: Sequence[Document], problems: list[Problem]) -> dict[str, Any]:
    """Put the files together; a value that only one of them may give is a problem in the second."""
    data: dict[str, Any] = {}
    giver: dict[str, str] = {}
    for document in documents:
        for name, value in (document.data or {}).items():
            if name in _LISTS:
                data[name] = [*data.get(name, []), *value]
            elif name == "enrichments":
                doubled = data.get(name, {}).keys() & value.keys()
                problems += [document.problem((name, one), f"the enrichment {one} is set in two files", key=True) for one in doubled]
                data[name] = {**data.get(name, {}), **value}
            elif name in giver:
                problems.append(document.problem((name,), f"{name} is given twice", f"{giver[name]} gives it too; keep one of them", key=True))
            else:
                giver[name] = document.file
                data[name] = value
    if "workspace" not in data:
        first = documents[0] if documents else Document("workspace.yaml", None, {}, {})
        problems.append(first.problem((), "workspace is missing", "name the workspace in the first line: workspace: shop"))
    return data


class _Objects(NamedTuple):
    """What is declared, with its places."""

    documents: Sequence[Document]
    sources: Sequence[_Item]
    destinations: Sequence[_Item]
    storage: Sequence[_Item]

    @staticmethod
    def of(documents: Sequence[Document]) -> _Objects:
        def items(name: str) -> list[_Item]:
            return [_Item(document, (name, index), item) for document in documents for index, item in enumerate((document.data or {}).get(name, []))]

        return _Objects(documents, items("sources"), items("destinations"), items("storage"))


def _check_objects(objects: _Objects, rules: WorkspaceRules, read: ReadSchema, data: dict[str, Any], problems: list[Problem]) -> None:
    sources = [item.data["id"] for item in objects.sources]
    problems += _doubled(objects.sources, "source")
    # Both stand in the header `routes`, so one id must not mean two things.
    problems += _doubled([*objects.destinations, *objects.storage], "destination or storage")
    problems += _write_keys(objects.sources)
    problems += _admission(objects.sources, rules)
    for item in objects.sources:
        problems += [item.problem(fault.path, fault.message, fault.hint, key=fault.key) for fault in webhook_faults(item.data, rules)]
    problems += _enrichments(objects.documents, rules)
    for document in objects.documents:
        default = (document.data or {}).get("default_source")
        if default and default not in sources:
            problems.append(document.problem(("default_source",), f"there is no source {default}", did_you_mean(default, sources)))
    data["sources"] = [_with_schemas(item, read, problems) for item in objects.sources]
    for kind, items, types in (("destination", objects.destinations, rules.destinations), ("storage", objects.storage, rules.storage)):
        for item in items:
            problems += _source_names(item, sources)
            problems += _type_and_settings(item, kind, types)
    for item in objects.destinations:
        problems += _mappings(item, rules)
        problems += _filters(item, rules)
        problems += _device_mode(item, rules)


def _doubled(items: Sequence[_Item], kind: str) -> list[Problem]:
    problems = []
    first: dict[str, _Item] = {}
    for item in items:
        other = first.setdefault(item.data["id"], item)
        if other is not item:
            place = other.problem(("id",), "")
            problems.append(
                item.problem(("id",), f"a second {kind} has the id {item.data['id']}", f"the first is in {place.file}, line {place.line}")
            )
    return problems


def _write_keys(sources: Sequence[_Item]) -> list[Problem]:
    problems = []
    owner: dict[str, str] = {}
    for item in sources:
        for index, key in enumerate(item.data.get("write_keys", [])):
            # A write key is no great secret (every page shows it), yet it is not repeated here.
            if owner.setdefault(key, item.data["id"]) != item.data["id"]:
                problems.append(
                    item.problem(("write_keys", index), f"the source {owner[key]} has this write key too", "each source needs a key of its own")
                )
            if len(key) < _WRITE_KEY_LEAST and key != DEMO_WRITE_KEY:
                problems.append(
                    item.problem(
                        ("write_keys", index),
                        "the write key is too short to be safe",
                        f"at least {_WRITE_KEY_LEAST} characters; `headrace source add` makes one",
                    )
                )
    return problems


_WRITE_KEY_LEAST: Final = 8


def _admission(sources: Sequence[_Item], rules: WorkspaceRules) -> list[Problem]:
    """Check what a source says about who may send to it beside its write keys."""
    problems = []
    clients: dict[str, str] = {}
    for item in sources:
        if "burst" in item.data and "rate" not in item.data:
            problems.append(item.problem(("burst",), "burst without rate means nothing", "say how many events a second it takes: rate", key=True))
        oauth = item.data.get("oauth", {})
        for key_id, key in oauth.get("public_keys", {}).items():
            fault = "" if references_in(key) else rules.key_fault(key)
            if fault:
                hint = "write the key in PEM, from BEGIN to END PUBLIC KEY, or where it is: ${file:PATH}"
                problems.append(item.problem(("oauth", "public_keys", key_id), f"the public key {key_id} {fault}", hint))
        client = oauth.get("client_id")
        if client is not None and clients.setdefault(client, item.data["id"]) != item.data["id"]:
            problems.append(
                item.problem(("oauth", "client_id"), f"the source {clients[client]} has this client too", "each source needs a client of its own")
            )
    return problems


def _enrichments(documents: Sequence[Document], rules: WorkspaceRules) -> list[Problem]:
    return [
        document.problem(("enrichments", name), f"unknown enrichment {name}", did_you_mean(name, rules.enrichments), key=True)
        for document in documents
        for name in (document.data or {}).get("enrichments", {})
        if name not in rules.enrichments
    ]


def _with_schemas(item: _Item, read: ReadSchema, problems: list[Problem]) -> dict[str, Any]:
    """Give a source with its schemas inlined, and add what is wrong with them to the problems."""
    schemas: dict[str, Any] = {}
    for event, declared in item.data.get("schemas", {}).items():
        path = ("schemas", event)
        try:
            if isinstance(declared, str):
                text = read(item.document.file, declared)
                if text is None:
                    problems.append(item.problem(path, f"there is no file {declared}", "the path counts from the folder of this file"))
                    continue
                schemas[event] = parse_schema(text)
            else:
                check_schema(declared)
                schemas[event] = declared
        except SchemaFault as fault:
            problems.append(item.problem((*path, *fault.path), fault.message, fault.hint))
    return {**item.data, "schemas": schemas} if schemas else item.data


def _source_names(item: _Item, sources: Sequence[str]) -> list[Problem]:
    return [
        item.problem(("sources", index), f"there is no source {name}", did_you_mean(name, sources) or "declare it under sources: first")
        for index, name in enumerate(item.data["sources"])
        if name not in sources
    ]


def _type_and_settings(item: _Item, kind: str, types: Mapping[str, TypeRules]) -> list[Problem]:
    slug = item.data["type"]
    if slug not in types:
        return [item.problem(("type",), f"unknown type of {kind}: {slug}", did_you_mean(slug, types))]
    faults = check_settings(item.data.get("settings", {}), types[slug])
    return [item.problem(("settings", *fault.path), fault.message, fault.hint, key=fault.key) for fault in faults]


def _mappings(item: _Item, rules: WorkspaceRules) -> list[Problem]:
    problems = []
    names: set[str] = set()
    known = rules.destinations.get(item.data["type"])
    for index, mapping in enumerate(item.data.get("mappings", [])):
        path: Path = ("mappings", index)
        if mapping["name"] in names:
            problems.append(
                item.problem((*path, "name"), f"a second mapping has the name {mapping['name']}", "a mapping's name is unique in its destination")
            )
        names.add(mapping["name"])
        action = mapping.get("action", "")
        if known is not None and action and action not in known.actions:
            problems.append(item.problem((*path, "action"), f"{item.data['type']} has no action {action}", did_you_mean(action, known.actions)))
        problems += [item.problem((*path, "trigger"), fault.message, fault.hint) for fault in rules.query_faults(mapping["trigger"])]
        problems += [item.problem((*path, "fields", *fault.path), fault.message, fault.hint) for fault in rules.mapping_faults(mapping["fields"])]
    return problems


def _filters(item: _Item, rules: WorkspaceRules) -> list[Problem]:
    return [
        item.problem(("filters", index, "if"), fault.message, fault.hint)
        for index, rule in enumerate(item.data.get("filters", []))
        for fault in rules.query_faults(rule["if"])
    ]


def _device_mode(item: _Item, rules: WorkspaceRules) -> list[Problem]:
    """Refuse what a browser could not keep: it sends the whole event, to an address that everyone may read, and knows no FQL."""
    known = rules.destinations.get(item.data["type"])
    if item.data.get("mode") != "device" or known is None:
        return []
    if not known.public:
        return [
            item.problem(("mode",), f"{item.data['type']} has no plugin for browsers", "leave mode out: then the destination is sent to from here")
        ]
    problems = [
        item.problem((name,), f"browsers know no {name}", "leave them out, use events or except_events, or leave mode out")
        for name in ("filters", "mappings")
        if item.data.get(name)
    ]
    missing = [name for name in known.public if name not in item.data.get("settings", {})]
    return [
        *problems,
        *(item.problem(("mode",), f"device mode needs the setting {name}", "browsers get it, and so does everyone") for name in missing),
    ]
