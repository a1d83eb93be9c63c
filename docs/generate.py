"""Writes docs/reference/ from the code, or says which of its pages are stale: `python -m docs.generate [--check]`."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson
import yaml

from docs.commands import commands_page
from pipeline.app.browser.routes import LOADED
from pipeline.app.declared import read_topology
from pipeline.declaration import describe
from pipeline.destinations.declaration import DestinationType
from pipeline.ingest.endpoints import TABLE
from pipeline.model import headers, limits
from pipeline.model.metrics import METRICS
from pipeline.model.odd_json import ODD_VALUES, PLACES_MOST, OddValue
from pipeline.model.reasons import REASONS
from pipeline.model.topics import DEAD_STAGES, RETRY_DELAYS, TOPICS, topic_settings
from pipeline.registry import DESTINATION_TYPES, ENRICHMENTS, SOURCE_PRESETS, STEPS, STORAGE_TYPES
from pipeline.sources import WEBHOOK_PATH, SourcePreset, read_preset

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "docs" / "reference"
MARK: Final = "\n<!-- Written by `make docs` from the code; change the code, not this page. -->\n"
TOPOLOGIES: Final = ("default", "fused")
_HOUR_MS: Final = 3_600_000


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table.

    Args:
        columns: Headings.
        rows: Cells, in Markdown.

    Returns:
        The table, with a line break at its end.
    """
    cells = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells)


def topics_page() -> str:
    """Write the page of topics and headers."""
    rows = []
    for topic in TOPICS:
        settings = topic_settings(topic)
        kept = "compacted" if topic.cleanup == "compact" else _kept(int(settings["retention.ms"]), int(settings.get("retention.bytes", -1)))
        partitions = "as the topology says" if topic.partitions == "events" else str(topic.partitions)
        rows.append((f"`{topic.name}`", topic.key, topic.value, partitions, kept))
    delays = ", ".join(f"`{name}`" for name in RETRY_DELAYS)
    stages = ", ".join(f"`{name}`" for name in DEAD_STAGES)
    return (
        "# Topics\n\nThe name on the cluster has the workspace's name before it: `raw` of the workspace `shop` is `shop.raw`.\n"
        f"All of them use the broker's append time and take records of at most {limits.TOPIC_MESSAGE_BYTES // 1024**2} MiB.\n"
        "`headrace topics plan` compares this table with a cluster.\n\n"
        + table(("topic", "key", "value", "partitions", "kept"), rows)
        + f"\n`{{delay}}` is one of {delays}. The stages of `dead.{{processor}}` are {stages}.\n"
        + "\n## Headers\n\nThe value of an event stays a spec message; what the pipeline adds stands in headers.\n\n"
        + table(("header", "what it says"), [(f"`{value}`", sentence) for _, value, sentence in _constants(headers)])
    )


def _kept(milliseconds: int, size: int) -> str:
    if milliseconds < 0:
        return f"{size // 1024**3} GiB a partition"
    hours = milliseconds // _HOUR_MS
    return f"{hours // 24} days" if hours % 24 == 0 and hours > 24 else f"{hours} hours"


def reasons_page() -> str:
    """Write the page of reasons and severities."""
    return (
        "# Reasons\n\nWhy a message ended, or did not go somewhere. The names stand in metrics, in the ledger and in the headers of dead letters.\n\n"
        "`info`: meant so. `warning`: the sender or the operator should look. `error`: a message waits in dead letters for someone.\n\n"
        + table(("reason", "severity", "what happened"), [(f"`{one.name}`", one.severity, one.sentence) for one in REASONS.values()])
    )


def metrics_page() -> str:
    """Write the page of metrics."""
    rows = [(f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.sentence) for one in METRICS.values()]
    return "# Metrics\n\nEvery process serves the ones that it fills under `GET /metrics`, as text for Prometheus.\n\n" + table(
        ("metric", "kind", "labels", "what it counts"), rows
    )


def limits_page() -> str:
    """Write the page of limits."""
    rows = [(f"{value:,}", sentence) for _, value, sentence in _constants(limits)]
    return "# Limits\n\nChecked before anything is written to Kafka. Sizes are bytes.\n\n" + table(("limit", "of what"), rows)


def endpoints_page() -> str:
    """Write the page of the tracking API's paths."""
    rows = [(f"`{one.method} {path}`", _TAKES[one.takes], one.clients) for path, one in TABLE]
    return (
        "# Endpoints\n\nThe paths of the tracking API, each with and without a slash at its end. None is redirected, and each answers `OPTIONS`.\n"
        "[Sending](../guide/sending.md) says how they are used.\n\n"
        + table(("path", "takes", "called by"), rows)
        + "\nWhat SDKs load. Every site may read it; a write key that is not known is answered with 404 (RudderStack's with 400).\n\n"
        + table(("path", "gives", "called by"), [(f"`GET {one.path}`", one.gives, one.clients) for one in LOADED])
        + "\nWhat other products send to a [webhook source](../guide/webhooks.md).\n\n"
        + table(
            ("path", "takes", "called by"), [(f"`POST {WEBHOOK_PATH}SOURCE`", "a signed delivery", "Stripe, GitHub, Zendesk and any other sender")]
        )
    )


_TAKES: Final = {
    "event": "one event",
    "batch": "`{batch: [...]}`",
    "pixel": "one event in the query; answers with an image",
    "token": "a client's assertion; answers with an access token",
    "nothing": "anything; answers 200",
}


def odd_json_page() -> str:
    """Write the page of odd JSON."""
    rows = [(one.name, f"400 `{one.code}`" if one.code else "200", _stored(one), f"`{one.counted}`" if one.counted else "") for one in ODD_VALUES]
    return (
        "# Odd JSON\n\nWhat becomes of JSON that a plain reader would change in silence. A test sends each row to the collector and reads it out of "
        "the lake.\n\nWhat is replaced is counted in `headrace_ingest_replaced_values_total` by the name of the last column, and told in the event: "
        f"`context.replaced` names up to {PLACES_MOST} places, as `{{path, what}}`. A number with a fraction or an exponent is a double, rounded to "
        "the nearest; an integer stays exact. Where a key stands twice, the last counts.\n\n"
        + table(("sent", "answer", "stored", "counted as"), rows)
    )


def _stored(row: OddValue) -> str:
    if row.stored is None:
        return ""
    if row.stored == row.sent:
        return "as it is"
    return "without it" if row.whole else f"`{row.stored.decode()}`"


def _constants(module: ModuleType) -> Iterator[tuple[str, Any, str]]:
    """Read the constants of a module in order, each with the docstring below it (empty where there is none)."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            sentence = str(after.value.value) if documented else ""  # type: ignore[union-attr]  # `documented` says what it is
            yield statement.target.id, getattr(module, statement.target.id), " ".join(sentence.split())


def workspace_page() -> str:
    """Write the page of the workspace file's keys."""
    schema = orjson.loads((ROOT / "schemas" / "workspace.json").read_bytes())
    parts = ["# Workspace file\n\n`headrace check` holds a file to `schemas/workspace.json`. Unknown keys are refused.\n\n" + _fields(schema)]
    for name, heading in (
        ("source", "A source"),
        ("oauth", "OAuth of a source"),
        ("signature", "The signature of a webhook source"),
        ("destination", "A destination"),
        ("mapping", "A mapping"),
        ("filter", "A filter"),
        ("storage", "A storage"),
    ):
        parts.append(f"\n## {heading}\n\n" + _fields(schema["$defs"][name], schema["$defs"]))
    for name, settings in STORAGE_TYPES.items():
        parts.append(f"\n## Settings of the storage type `{name}`\n\n" + _fields(settings))
    return "".join(parts)


def topology_page() -> str:
    """Write the page of the topology file's keys, the steps and the shipped topologies."""
    schema = orjson.loads((ROOT / "schemas" / "topology.json").read_bytes())
    steps = [(f"`{name}`", ", ".join(f"`{lane}`" for lane in kind.lanes), kind.sentence) for name, kind in STEPS.items()]
    enrichments = [(f"`{name}`", _first_sentence(kind.create)) for name, kind in ENRICHMENTS.items()]
    text = "# Topology file\n\nHeld to `schemas/topology.json`. Unknown keys are refused.\n\n" + _fields(schema)
    text += "\n## A processor\n\n" + _fields(schema["$defs"]["processor"], schema["$defs"])
    text += "\n## Steps\n\n" + table(("step", "lanes", "what it decides"), steps)
    text += "\n## Enrichments\n\n" + table(("enrichment", "what it does"), enrichments)
    for name in TOPOLOGIES:
        text += f"\n## `{name}`\n\nWhat `headrace topology show {name}` prints.\n\n```text\n{describe(read_topology(name))}```\n"
    return text


def _first_sentence(function: Any) -> str:  # noqa: ANN401 (any callable with a docstring)
    sentence = (inspect.getdoc(function) or "").partition("\n")[0].replace("``", "`")
    return _capital(sentence.replace("Create the enrichment that ", ""))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        resolved = {**(definitions or {}).get(str(field.get("$ref", "")).rpartition("/")[2], {}), **field}
        kind = " or ".join(f"`{value}`" for value in resolved["enum"]) if "enum" in resolved else _kind(resolved)
        sentence = _capital(resolved.get("description", ""))
        rows.append((f"`{name}`", kind, "yes" if name in required else "", sentence if sentence.endswith(".") else f"{sentence}."))
    return table(("key", "value", "required", "what it is"), rows)


def _kind(field: Mapping[str, Any]) -> str:
    words = {"array": "list", "string": "text", "boolean": "true or false", "integer": "whole number", "object": "map"}
    kind = str(field.get("type", "any"))
    return words.get(kind, kind)


def destination_page(one: DestinationType) -> str:
    """Write the page of a destination type, with its first case as the example."""
    text = f"# {one.name}\n\n{one.sentence} Its type is `{one.slug}`. It takes {', '.join(sorted(one.calls))}.\n"
    text += f"A request has {one.timeout_seconds:g} seconds.\n\n## Settings\n\n"
    rows = [(f"`{field.name}`", field.kind, "yes" if field.required else "", "yes" if field.secret else "", field.sentence) for field in one.settings]
    text += table(("setting", "value", "required", "secret", "what it is"), rows)
    for action in one.actions:
        mapping = yaml.safe_dump(action.mapping, sort_keys=False, width=120)
        text += f"\n## Action `{action.name}`\n\n{action.sentence} Unless the workspace gives mappings of its own, it runs for\n\n"
        text += f"```text\n{action.trigger}\n```\n\nand sends\n\n```yaml\n{mapping}```\n"
    cases = yaml.safe_load((ROOT / "pipeline" / "destinations" / one.slug / "cases.yaml").read_text(encoding="utf-8"))
    text += "\n## Examples\n\nThese are cases that the tests run: an event, the settings, and the requests that come of them.\n"
    for case in [case for case in cases if "requests" in case][:4]:
        shown = {key: case[key] for key in ("settings", "mappings", "event", "requests") if key in case}
        text += f"\n{_capital(case['name'])}:\n\n```yaml\n{yaml.safe_dump(shown, sort_keys=False, width=120)}```\n"
    answers = [(str(case["status"]), case["outcome"]) for case in cases if "status" in case]
    return text + ("\n## Answers\n\n" + table(("status", "outcome"), answers) if answers else "")


def source_page(one: SourcePreset) -> str:
    """Write the page of a preset of webhook sources, with its cases as examples."""
    file = f"pipeline/sources/{one.slug}/preset.yaml"
    unused = "" if one.signature.timestamp_header else "tolerance_seconds"
    signature = [(f"`{name}`", f"`{value}`") for name, value in asdict(one.signature).items() if value != "" and name != unused]
    made = [(f"`{mapping.name}`", f"`{mapping.trigger}`", str(mapping.fields.get("type", "track"))) for mapping in one.mappings]
    rows = [*made, ("", "every other", str(one.otherwise["type"]))]
    text = f"# {one.name}\n\n{one.sentence} Its preset is `{one.slug}`; the address belongs into {one.paste}. "
    text += f"[Webhooks](../../guide/webhooks.md) says how it is used, `{file}` holds all of it.\n\n## Signature\n\n"
    text += f"HMAC-SHA256, as <{one.docs}> says.\n\n" + table(("part", "value"), signature)
    text += "\n## What its deliveries become\n\n" + table(("mapping", "deliveries", "call"), rows)
    text += (
        f"\nThe message id is\n\n```yaml\n{_yaml(one.message_id)}```\n\nand the event's name is read from\n\n```yaml\n{_yaml(one.event_name)}```\n"
    )
    text += "\n## Examples\n\nThese are cases that the tests run.\n"
    for case in yaml.safe_load((ROOT / "pipeline" / "sources" / one.slug / "cases.yaml").read_text(encoding="utf-8")):
        shown = {key: case[key] for key in ("source", "headers", "body", "calls") if key in case}
        text += f"\n{_capital(case['name'])}:\n\n```yaml\n{_yaml(shown)}```\n"
    return text


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120)


def pages() -> dict[str, str]:
    """Write every reference page.

    Returns:
        Text by path under docs/reference/.
    """
    written = {
        "topics.md": topics_page(),
        "reasons.md": reasons_page(),
        "metrics.md": metrics_page(),
        "limits.md": limits_page(),
        "endpoints.md": endpoints_page(),
        "odd-json.md": odd_json_page(),
        "workspace.md": workspace_page(),
        "topology.md": topology_page(),
        "commands.md": commands_page(),
        **{f"destinations/{one.slug}.md": destination_page(one) for one in DESTINATION_TYPES.values()},
        **{f"sources/{slug}.md": source_page(read_preset(slug)) for slug in SOURCE_PRESETS},
    }
    return {path: text + MARK for path, text in written.items()}


def stale(folder: Path = REFERENCE) -> list[str]:
    """Compare the pages on disk with what the code says.

    Args:
        folder: Where they lie.

    Returns:
        A sentence for each page that is stale, missing or left over.
    """
    wanted = pages()
    found = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))}
    words = [f"docs/reference/{path} is {'stale' if path in found else 'missing'}" for path in wanted if found.get(path) != wanted[path]]
    return words + [f"docs/reference/{path} is made by nothing" for path in found if path not in wanted]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them.

    Args:
        arguments: `--check`, or none.

    Returns:
        Exit status: 1 when a page is stale.
    """
    if "--check" in arguments:
        words = stale()
        sys.stderr.write("".join(f"{word}: run `make docs`\n" for word in words))
        return 1 if words else 0
    for path, text in pages().items():
        file = REFERENCE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
