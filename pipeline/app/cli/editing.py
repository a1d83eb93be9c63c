"""Adds to a workspace's file and leaves every other byte of it, comments among them, as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import yaml

from pipeline.declaration.yaml_text import Document, parse_yaml

List = Literal["sources", "destinations", "storage"]
_WIDTH: Final = 1 << 31
"""So wide that nothing is ever folded."""
_BARE: Final = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")


class EditError(ValueError):
    """The file is written in a way that cannot be added to; the message holds what to add by hand."""


def add_item(text: str, name: List, item: Mapping[str, Any]) -> str:
    """Append an object to one of the lists of a workspace's file.

    Args:
        text: The file, which must be sound YAML.
        name: The list; it is made where it is missing.
        item: The object.

    Returns:
        The new text: the old one with lines put in.

    Raises:
        EditError: The new text would not say what was asked.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    try:
        new = _added(text, name, item)
    except yaml.YAMLError:
        new = ""
    if ending == "\r\n":
        new = new.replace("\r\n", "\n").replace("\n", ending)
    before = parse_yaml(text, "")
    after = parse_yaml(new, "")
    if isinstance(before, Document) and isinstance(after, Document):
        wanted = dict(before.data or {})
        wanted[name] = [*(wanted.get(name) or []), dict(item)]
        if after.data == wanted:
            return new
    raise EditError(f"add this to {name}: by hand:\n{_block([item], 2)}")


def _added(text: str, name: List, item: Mapping[str, Any]) -> str:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    found = next((value for key, value in node.value if key.value == name), None) if isinstance(node, yaml.MappingNode) else None
    if found is None:
        return f"{text.rstrip()}\n\n{name}:\n{_block([item], 2)}".lstrip()
    if isinstance(found, yaml.SequenceNode) and found.value and not found.flow_style:
        return _after_last(text, found, item)
    if isinstance(found, yaml.SequenceNode) and found.value:
        start = _last_end(found.value[-1])
        return f"{text[:start]}, {_flow(item)}{text[start:]}"
    # An empty list or nothing: what stands in its place goes, a comment behind it stays.
    begin, end = _index(found, "start"), _index(found, "end")
    rest, _, below = text[end:].partition("\n")
    head = text[:begin].rstrip(" ")
    return f"{head}{rest}\n{_block([item], 2)}{below}"


def _after_last(text: str, found: yaml.SequenceNode, item: Mapping[str, Any]) -> str:
    """Put the item below the last line that belongs to the list's last item; comments further down belong to what follows."""
    first = _index(found.value[0], "start")
    indent = text.rfind("-", 0, first) - (text.rfind("\n", 0, first) + 1)
    end = _last_end(found.value[-1])
    line_end = end if end > 0 and text[end - 1] == "\n" else text.find("\n", end)
    if line_end < 0:
        return f"{text}\n{_block([item], indent)}"
    cut = line_end if text[line_end - 1] == "\n" else line_end + 1
    return text[:cut] + _block([item], indent) + text[cut:]


def _last_end(node: yaml.Node) -> int:
    """Give where a node's own text ends; a block's own end mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_end(last[1] if isinstance(last, tuple) else last)
    return _index(node, "end")


def _index(node: yaml.Node, which: Literal["start", "end"]) -> int:
    mark = node.start_mark if which == "start" else node.end_mark
    return mark.index if mark is not None else 0


def _block(items: list[Mapping[str, Any]], indent: int) -> str:
    return "".join(f"{' ' * indent}{'- ' if first else '  '}{line}\n" for item in items for first, line in _lines(item))


def _lines(item: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    for number, (key, value) in enumerate(item.items()):
        yield number == 0, f"{_flow(key)}: {_flow(value)}"


def _flow(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Write a value on one line; text is quoted unless every reader of YAML takes it for text as it stands."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        if _BARE.fullmatch(value) and yaml.safe_load(value) == value:
            return value
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=_WIDTH).removesuffix("\n")
    return yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...")
