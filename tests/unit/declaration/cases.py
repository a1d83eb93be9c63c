"""What the tests of this room check against: small rules with one type of each sort."""

from typing import Any

import orjson

from pipeline.declaration import DeclarationError, DeclaredFile, Problem, TopologyRules, TypeRules, WorkspaceRules, load_workspace
from pipeline.ingest.oauth import public_key
from pipeline.mapping import compile_mapping, compile_query
from pipeline.model.workspace import Workspace
from pipeline.resources import resource

WORKSPACE_SCHEMA: dict[str, Any] = orjson.loads((resource("schemas") / "workspace.json").read_bytes())
TOPOLOGY_SCHEMA: dict[str, Any] = orjson.loads((resource("schemas") / "topology.json").read_bytes())

RULES = WorkspaceRules(
    schema=WORKSPACE_SCHEMA,
    destinations={
        "webhook": TypeRules(
            {
                "type": "object",
                "properties": {
                    "url": {"type": "string", "description": "Where to."},
                    "shared_secret": {"type": "string"},
                    "browser_url": {"type": "string"},
                    "headers": {"type": "object"},
                },
                "required": ["url"],
                "additionalProperties": False,
            },
            secrets=("shared_secret",),
            actions=("send",),
            public=("browser_url",),
        ),
        "quiet": TypeRules({"type": "object"}),
    },
    storage={
        "parquet": TypeRules({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"], "additionalProperties": False})
    },
    enrichments=("geo",),
    compile_query=compile_query,
    compile_mapping=compile_mapping,
    read_public_key=public_key,
    presets=("generic", "stripe"),
)

TOPOLOGY_RULES = TopologyRules(
    schema=TOPOLOGY_SCHEMA,
    steps={
        "validate": ("main", "raw", "dead"),
        "dedup": ("main", "dead"),
        "enrich": ("main", "dead"),
        "filter": ("main", "dead"),
        "translate": ("requests", "dead"),
    },
    enrichments=("bot", "user_agent", "geo", "campaign", "ip_anonymize"),
)

SHOP = """\
workspace: shop
sources:
  - id: web
    write_keys: ["${env:WEB_WRITE_KEY}"]
destinations:
  - id: crm
    type: webhook
    sources: [web]
    settings: {url: "https://crm.example.com/hook", shared_secret: "${env:CRM_SECRET}"}
    filters: [{if: 'type = "track" and event = "Debug"', then: drop}]
storage:
  - {id: lake, type: parquet, sources: [web], settings: {path: ./data/lake}}
"""


def load(*texts: str, files: dict[str, bytes] | None = None) -> Workspace:
    """Load a workspace of files named 1.yaml, 2.yaml …, with the schemas given by path."""
    return load_workspace(
        [DeclaredFile(f"{number}.yaml", text) for number, text in enumerate(texts, 1)], RULES, lambda _file, path: (files or {}).get(path)
    )


def problems(*texts: str, files: dict[str, bytes] | None = None) -> tuple[Problem, ...]:
    """Give what is wrong with a workspace; nothing when it loads."""
    try:
        load(*texts, files=files)
    except DeclarationError as error:
        return error.problems
    return ()
