"""Check the settings of a destination or storage: known, complete, of the right kind, and no secret in clear text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.declaration.problems import Path
from pipeline.declaration.references import broken_references, is_reference
from pipeline.declaration.rules import TypeRules
from pipeline.declaration.shape import Fault, shape_faults


def check_settings(values: Mapping[str, Any], rules: TypeRules) -> list[Fault]:
    """Find everything that is wrong with settings; no message repeats the value of a secret.

    Args:
        values: What is declared.
        rules: The type that they are for.

    Returns:
        Faults with paths from `settings`.
    """
    in_clear = [name for name in rules.secrets if name in values and not _kept_out(values[name])]
    faults = [fault for fault in shape_faults(values, rules.settings) if not (fault.path and fault.path[0] in in_clear)]
    for name in in_clear:
        hint = f"put it into the environment and write ${{env:{name.upper()}}}, or into a file and write ${{file:PATH}}"
        faults.append(Fault((name,), f"{name} is a secret and stands here in clear", hint))
    faults += [
        Fault(path, "holds something that looks like a reference and is none", "write ${env:NAME} or ${file:PATH}")
        for path, text in _texts(values, ())
        if broken_references(text)
    ]
    return faults


def _kept_out(value: Any) -> bool:  # noqa: ANN401 (any JSON value)
    # A broken reference is told about once, as such.
    return isinstance(value, str) and (is_reference(value) or bool(broken_references(value)))


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
