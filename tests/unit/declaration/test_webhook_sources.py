"""What is said about a webhook source that is declared wrong, and what one becomes."""

from __future__ import annotations

import pytest

from pipeline.declaration.objects import object_data, source_of
from pipeline.model.workspace import MappingDeclaration, Signature
from tests.unit.declaration.cases import load, problems

_HOOK = 'id: hook, type: webhook, secrets: ["${env:S}"]'


def test_a_webhook_source_becomes_the_models_values() -> None:
    """All that it declares arrives, and is the same after a way through the config topic."""
    text = (
        f"workspace: shop\nsources:\n  - {{{_HOOK}, preset: stripe, signature: {{header: x-sign, separator: ','}}, "
        "message_id: {'@path': $.body.n}, event_name: Order, mappings: [{name: m, trigger: body.a = 1, fields: {type: track}}]}\n"
    )
    source = load(text).sources["hook"]
    assert ("webhook", "stripe", ("${env:S}",), {"@path": "$.body.n"}, "Order") == (
        source.type,
        source.preset,
        source.secrets,
        source.message_id,
        source.event_name,
    )
    assert Signature("x-sign", separator=",") == source.signature
    assert (MappingDeclaration("m", "body.a = 1", {"type": "track"}),) == source.mappings
    assert source == source_of(object_data(source))


@pytest.mark.parametrize(
    ("source", "path", "message", "hint"),
    [
        (
            "id: my-hook, type: webhook",
            "",
            "secrets is missing: without one anybody could send to a webhook source",
            'write secrets: ["${env:MY_HOOK_WEBHOOK_SECRET}"]',
        ),
        (f"{_HOOK}, preset: strip", ".preset", "unknown preset strip", "did you mean stripe?"),
        ("id: a, preset: stripe", ".preset", "preset is for sources of type webhook only", "add type: webhook, or take it out"),
        (
            f"{_HOOK}, origins: ['https://shop.example']",
            ".origins",
            "origins does nothing for a source of type webhook: its secrets let deliveries in",
            "take it out",
        ),
        (f"{_HOOK}, message_id: {{'@pth': x}}", ".message_id", "has an unknown directive: @pth", "did you mean @path?"),
        (
            f"{_HOOK}, mappings: [{{name: m, trigger: 'body.a =', fields: {{}}}}]",
            ".mappings[0].trigger",
            "not a query, at its character 9: expected a value, found the end",
            "",
        ),
        (
            f"{_HOOK}, mappings: [{{name: m, trigger: 'body.a = 1', fields: {{event: {{'@template': 3}}}}}}]",
            ".mappings[0].fields.event.@template",
            "needs a string or a directive, but it is a number",
            "",
        ),
        (
            f"{_HOOK}, mappings: [{{name: m, trigger: 'body.a = 1', action: send, fields: {{}}}}]",
            ".mappings[0].action",
            "action is for mappings of destinations only",
            "take it out",
        ),
        (
            f"{_HOOK}, mappings: [{{name: m, trigger: 'a = 1', fields: {{}}}}, {{name: m, trigger: 'a = 2', fields: {{}}}}]",
            ".mappings[1].name",
            "a second mapping has the name m",
            "a mapping's name is unique in its source",
        ),
    ],
)
def test_a_mistake(source: str, path: str, message: str, hint: str) -> None:
    """Each is told with its place and what to do."""
    (problem,) = problems(f"workspace: shop\nsources:\n  - {{{source}}}\n")
    assert (3, f"sources[0]{path}", message, hint) == (problem.line, problem.path, problem.message, problem.hint)


@pytest.mark.parametrize(
    "source",
    [
        "id: a, type: webhook, secrets: [whsec_in-clear]",
        f"{_HOOK}, signature: {{header: x-s, signed: 'nothing'}}",
        f"{_HOOK}, signature: {{header: x-s, signed: '{{bdy}}'}}",
    ],
)
def test_a_shape(source: str) -> None:
    """A secret in clear is refused and not repeated; what is signed holds the body."""
    (problem,) = problems(f"workspace: shop\nsources:\n  - {{{source}}}\n")
    assert "is not written as it must be" == problem.message
    assert "in-clear" not in str(problem)
