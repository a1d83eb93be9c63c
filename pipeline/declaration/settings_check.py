"""Check the settings of a destination or storage: known, complete, and no secret in clear text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.declaration.problems import Path, did_you_mean
from pipeline.declaration.references import broken_references, is_reference
from pipeline.declaration.rules import Setting
from pipeline.declaration.shape import Fault


def check_settings(values: Mapping[str, Any], known: Sequence[Setting]) -> list[Fault]:
    """Find everything that is wrong with settings; no message repeats a value.

    Args:
        values: What is declared.
        known: The settings of the type.

    Returns:
        Faults with paths from `settings`.
    """
    names = {setting.name: setting for setting in known}
    faults = [Fault((name,), f"unknown setting {name}", did_you_mean(name, names), key=True) for name in values if name not in names]
    for setting in known:
        if setting.name not in values:
            if setting.required:
                faults.append(Fault((), f"the setting {setting.name} is missing", setting.sentence))
        elif setting.secret:
            faults += _secret_faults(setting, values[setting.name])
    faults += [
        Fault(path, f"{piece} is no reference", "write ${env:NAME} or ${file:PATH}")
        for path, text in _texts(values, ())
        for piece in broken_references(text)
    ]
    return faults


def _secret_faults(setting: Setting, value: Any) -> Iterator[Fault]:  # noqa: ANN401 (any JSON value)
    if not isinstance(value, str) or not (is_reference(value) or broken_references(value)):
        variable = setting.name.upper()
        yield Fault(
            (setting.name,),
            f"{setting.name} is a secret and stands here in clear",
            f"put it into the environment and write ${{env:{variable}}}, or into a file and write ${{file:PATH}}",
        )


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 (any JSON value)
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
