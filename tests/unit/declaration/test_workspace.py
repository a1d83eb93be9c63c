"""A workspace's files: what loads, and everything that is said about one that does not."""

import pytest

from pipeline.declaration.objects import object_data, source_of
from pipeline.model.workspace import Destination, Filter, MappingDeclaration, OAuth, Source, Storage
from tests.unit.declaration.cases import SHOP, load, problems


def test_a_workspace_becomes_the_models_values() -> None:
    """The example of the documentation loads; what is left out has the model's default."""
    workspace = load(SHOP)
    assert (workspace.name, workspace.version) == ("shop", 0)
    assert workspace.sources == {"web": Source("web", ("${env:WEB_WRITE_KEY}",))}
    settings = {"url": "https://crm.example.com/hook", "shared_secret": "${env:CRM_SECRET}"}
    rule = Filter('type = "track" and event = "Debug"')
    assert workspace.destinations == {"crm": Destination("crm", "webhook", ("web",), settings=settings, filters=(rule,))}
    assert workspace.storage == {"lake": Storage("lake", "parquet", ("web",), {"path": "./data/lake"})}


def test_files_are_put_together() -> None:
    """Lists of several files are joined, and enrichments too."""
    workspace = load(
        "workspace: shop\nenrichments: {geo: {path: a.mmdb}}\nsources: [{id: web}]\n",
        "sources: [{id: ios}]\ndefault_source: ios\n",
        "",
    )
    assert list(workspace.sources) == ["web", "ios"]
    assert workspace.default_source == "ios"
    assert workspace.enrichments == {"geo": {"path": "a.mmdb"}}


def test_a_mapping_keeps_its_parts() -> None:
    """A mapping has a name, a trigger, fields and perhaps an action."""
    mapping = 'mappings: [{name: a, trigger: \'type = "track"\', action: send, fields: {email: {"@path": $.traits.email}}}]'
    text = f"workspace: shop\nsources: [{{id: web}}]\ndestinations: [{{id: crm, type: webhook, sources: [web], settings: {{url: u}}, {mapping}}}]\n"
    declared = load(text).destinations["crm"].mappings
    assert declared == (MappingDeclaration("a", 'type = "track"', {"email": {"@path": "$.traits.email"}}, "send"),)


def test_schemas_are_inlined() -> None:
    """A schema may stand in a file or in place; either way the workspace holds its content."""
    text = "workspace: shop\nsources: [{id: web, schemas: {Signed Up: a.json, Left: {type: object}}}]\n"
    assert load(text, files={"a.json": b'{"required": ["plan"]}'}).sources["web"].schemas == {
        "Signed Up": {"required": ["plan"]},
        "Left": {"type": "object"},
    }


_DESTINATION = "workspace: shop\nsources: [{id: web}]\ndestinations:\n  - id: crm\n    type: webhook\n    sources: [web]\n    settings: {url: u}\n"


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        ("sources: []\n", 1, "", "workspace is missing", "name the workspace in the first line: workspace: shop"),
        ("workspace: shop\nsorces: []\n", 2, "sorces", "unknown key sorces", "did you mean sources?"),
        ("workspace: shop\nsources: {}\n", 2, "sources", "needs a list, but it is an object", "Where events come from."),
        ("workspace: shop\nsources:\n  - write_keys: []\n", 3, "sources[0]", "id is missing", ""),
        (
            "workspace: shop\nsources: [{id: web, enabled: yes}]\n",
            2,
            "sources[0].enabled",
            "needs true or false, but it is text",
            "write true or false",
        ),
        (
            "workspace: shop\nsources: [{id: web}, {id: web}]\n",
            2,
            "sources[1].id",
            "a second source has the id web",
            "the first is in 1.yaml, line 2",
        ),
        ("workspace: shop\nsources: [{id: web}]\ndefault_source: wbe\n", 3, "default_source", "there is no source wbe", "did you mean web?"),
        ("workspace: shop\nenrichments: {gio: {}}\n", 2, "enrichments.gio", "unknown enrichment gio", "did you mean geo?"),
        (
            _DESTINATION.replace("type: webhook", "type: webhok"),
            5,
            "destinations[0].type",
            "unknown type of destination: webhok",
            "did you mean webhook?",
        ),
        (_DESTINATION.replace("[web]", "[web, ios]"), 6, "destinations[0].sources[1]", "there is no source ios", "known: web"),
        (_DESTINATION.replace("{url: u}", "{}"), 7, "destinations[0].settings", "url is missing", "Where to."),
        (_DESTINATION.replace("{url: u}", "{url: u, ulr: v}"), 7, "destinations[0].settings.ulr", "unknown key ulr", "did you mean url?"),
        (
            _DESTINATION.replace("url: u", "url: u, headers: {a: '${TOKEN}'}"),
            7,
            "destinations[0].settings.headers.a",
            "holds something that looks like a reference and is none",
            "write ${env:NAME} or ${file:PATH}",
        ),
        (_DESTINATION + "    concurrency: 1001\n", 8, "destinations[0].concurrency", "1001 is more than 1000", "Most requests at once"),
        (_DESTINATION + "    filters: [{if: '', then: drop}]\n", 8, "destinations[0].filters[0].if", "must not be empty", "Which events, in FQL"),
        (_DESTINATION + "    rate: 0\n", 8, "destinations[0].rate", "0 is not more than 0", "Most requests a second."),
        (
            _DESTINATION + "    filters: [{if: 'type =', then: drop}]\n",
            8,
            "destinations[0].filters[0].if",
            "not a query, at its character 7: expected a value, found the end",
            "",
        ),
        (
            _DESTINATION + "    filters: [{if: 'type = 1', then: dorp}]\n",
            8,
            "destinations[0].filters[0].then",
            "dorp is not one of its values",
            "did you mean drop?",
        ),
        (
            _DESTINATION + "    mappings: [{name: a, trigger: 'type = \"track\"', fields: {to: [{'@pth': $.a}]}}]\n",
            8,
            "destinations[0].mappings[0].fields.to[0]",
            "has an unknown directive: @pth",
            "did you mean @path?",
        ),
        (
            _DESTINATION + "    mappings: [{name: a, trigger: 'type = \"track\"', fields: {}, action: post}]\n",
            8,
            "destinations[0].mappings[0].action",
            "webhook has no action post",
            "known: send",
        ),
    ],
)
def test_a_fault_is_told_with_place_and_hint(text: str, line: int, path: str, message: str, hint: str) -> None:
    """Each fault has its line, its path, a message and, where one is known, a hint."""
    found = problems(text)
    assert len(found) == 1
    only = found[0]
    assert (only.line, only.path, only.message) == (line, path, message)
    assert hint in only.hint


def test_a_secret_in_clear_is_refused_and_not_repeated() -> None:
    """The message names the setting; the value stands nowhere, nor in the hint."""
    found = problems(_DESTINATION.replace("url: u", "url: u, shared_secret: hunter2hunter2"))
    assert [(problem.path, problem.message) for problem in found] == [
        ("destinations[0].settings.shared_secret", "shared_secret is a secret and stands here in clear")
    ]
    assert "${env:SHARED_SECRET}" in found[0].hint
    assert "hunter2" not in str(found)


def test_a_broken_reference_to_a_secret_is_told_once() -> None:
    """`${SECRET}` is a slip of the pen, not a secret in clear."""
    found = problems(_DESTINATION.replace("url: u", "url: u, shared_secret: '${CRM}'"))
    assert [problem.message for problem in found] == ["holds something that looks like a reference and is none"]


def test_write_keys_are_told_apart() -> None:
    """Two sources can't share a key, and a short one is refused but for the demo's."""
    text = "workspace: shop\nsources: [{id: a, write_keys: [abcdefgh]}, {id: b, write_keys: [abcdefgh, demo, short]}]\n"
    assert [(problem.path, problem.message) for problem in problems(text)] == [
        ("sources[1].write_keys[0]", "the source a has this write key too"),
        ("sources[1].write_keys[2]", "the write key is too short to be safe"),
    ]


def test_a_destination_and_a_storage_cannot_share_an_id() -> None:
    """Both stand in the header `routes`."""
    text = _DESTINATION + "storage: [{id: crm, type: parquet, sources: [web], settings: {path: p}}]\n"
    assert [problem.message for problem in problems(text)] == ["a second destination or storage has the id crm"]


def test_references_are_looked_at_wherever_they_stand() -> None:
    """In lists and objects of settings too, whatever the type makes of those."""
    found = problems(_DESTINATION.replace("url: u", "url: u, headers: {a: ['${X}', 1, '${env:FINE}']}"))
    assert [problem.path for problem in found] == ["destinations[0].settings.headers.a[0]"]


def test_two_mappings_cannot_share_a_name() -> None:
    """The name is part of the idempotency id of each request."""
    mapping = "{name: a, trigger: 'type = \"track\"', fields: {}}"
    assert [problem.path for problem in problems(_DESTINATION + f"    mappings: [{mapping}, {mapping}]\n")] == ["destinations[0].mappings[1].name"]


def test_files_must_not_contradict_each_other() -> None:
    """What only one file may give is a problem in the second; a doubled id names both files."""
    found = problems(
        "workspace: a\nenrichments: {geo: {}}\nsources: [{id: web}]\n",
        "workspace: b\nenrichments: {geo: {}}\nsources: [{id: web}]\n",
    )
    assert [(problem.file, problem.line, problem.message) for problem in found] == [
        ("2.yaml", 1, "workspace is given twice"),
        ("2.yaml", 2, "the enrichment geo is set in two files"),
        ("2.yaml", 3, "a second source has the id web"),
    ]


def test_all_problems_are_told_at_once() -> None:
    """Faults of syntax and shape come first, for all files; then everything that the content has."""
    shape = problems("workspace: shop\nsorces: []\n", "a: b: c\n")
    assert [(problem.file, problem.line) for problem in shape] == [("1.yaml", 2), ("2.yaml", 1)]
    content = problems(_DESTINATION.replace("[web]", "[wbe]").replace("webhook", "hook").replace("id: web", "id: web, write_keys: [short]"))
    assert [problem.line for problem in content] == [2, 5, 6]


def test_a_problem_reads_as_one_line() -> None:
    """Editors and terminals recognise file, line and column."""
    text = str(problems("workspace: shop\nsorces: []\n")[0])
    assert text == "1.yaml:2:1: sorces: unknown key sorces (did you mean sources?)"


def test_a_folder_without_files_has_no_workspace() -> None:
    """Nothing declared at all is one problem."""
    assert [problem.message for problem in problems()] == ["workspace is missing"]


@pytest.mark.parametrize(
    ("lines", "path", "message"),
    [
        ("mode: browser", "destinations[0].mode", "browser is not one of its values"),
        ("mode: device", "destinations[0].mode", "device mode needs the setting browser_url"),
        ("mode: device, filters: [{if: 'type = \"page\"', then: drop}]", "destinations[0].filters", "browsers know no filters"),
    ],
)
def test_device_mode_is_refused_where_a_browser_could_not_keep_it(lines: str, path: str, message: str) -> None:
    """What a browser does not know is no surprise at run time."""
    text = f"workspace: shop\nsources: [{{id: web}}]\ndestinations: [{{id: crm, type: webhook, sources: [web], settings: {{url: u}}, {lines}}}]\n"
    assert (path, message) in [(problem.path, problem.message) for problem in problems(text)]


def test_a_type_without_a_plugin_knows_no_device_mode() -> None:
    """The hint says what to leave out."""
    [problem] = problems("workspace: shop\nsources: [{id: web}]\ndestinations: [{id: crm, type: quiet, sources: [web], mode: device}]\n")
    assert ("quiet has no plugin for browsers", "leave mode out: then the destination is sent to from here") == (problem.message, problem.hint)


def test_device_mode() -> None:
    """With its public setting it loads."""
    settings = "settings: {url: u, browser_url: v}"
    text = f"workspace: shop\nsources: [{{id: web}}]\ndestinations: [{{id: crm, type: webhook, sources: [web], {settings}, mode: device}}]\n"
    assert "device" == load(text).destinations["crm"].mode


ADMISSION = """
workspace: shop
sources:
  - id: web
    write_keys: ["${env:ONE}", "${env:TWO}"]
    disabled_keys: ["${env:ONE}"]
    origins: ["https://*.shop.example", "null"]
    rate: 0.5
    burst: 10
    oauth: {client_id: shop, public_keys: {k1: "${file:k1.pem}"}, audience: "https://x", token_seconds: 60}
"""


def test_who_may_send_survives_the_way_through_the_topic_config() -> None:
    """What a source says about it is the same after it was written and read."""
    source = load(ADMISSION).sources["web"]
    assert source.oauth == OAuth("shop", {"k1": "${file:k1.pem}"}, "https://x", 60)
    assert (source.rate, source.burst, source.disabled_keys) == (0.5, 10, ("${env:ONE}",))
    assert source == source_of(object_data(source))


@pytest.mark.parametrize(
    ("written", "instead", "path", "message"),
    [
        ("    rate: 0.5\n", "", "sources[0].burst", "burst without rate means nothing"),
        ("rate: 0.5", "rate: 0", "sources[0].rate", "0 is not more than 0"),
        ("https://*.shop.example", "https://Shop.example/path", "sources[0].origins[0]", "is not written as it must be"),
        ("token_seconds: 60", "token_seconds: 1", "sources[0].oauth.token_seconds", "1 is less than 60"),
        ('{k1: "${file:k1.pem}"}', "{}", "sources[0].oauth.public_keys", "must not be empty"),
        (
            '"${file:k1.pem}"',
            '"-----BEGIN PUBLIC KEY-----"',
            "sources[0].oauth.public_keys.k1",
            "the public key k1 is no public key in PEM",
        ),
        (
            "sources:\n",
            'sources:\n  - {id: a, oauth: {client_id: shop, public_keys: {k: "${env:K}"}}}\n',
            "sources[1].oauth.client_id",
            "the source a has this client too",
        ),
    ],
)
def test_what_is_wrong_about_who_may_send(written: str, instead: str, path: str, message: str) -> None:
    """Each fault has its place."""
    assert [(problem.path, problem.message) for problem in problems(ADMISSION.replace(written, instead))] == [(path, message)]
