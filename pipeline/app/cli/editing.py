"""Adds to a workspace's file and leaves every other byte of it, comments among them, as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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

    def wanted(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, name: [*(data.get(name) or []), dict(item)]}

    return _edited(text, lambda: _added(text, name, item), wanted, f"add this to {name}: by hand:\n{_block([item], 2)}")


def add_to_list(text: str, name: List, item_id: str, key: str, value: str) -> str:
    """Append a text to a list that one object of a workspace's file has.

    Args:
        text: The file, which must be sound YAML.
        name: The list that the object stands in: `sources`.
        item_id: Its id.
        key: The object's list: `write_keys`; it is made where it is missing.
        value: The text.

    Returns:
        The new text: the old one with something put in.

    Raises:
        EditError: The new text would not say what was asked.
    """

    def wanted(data: dict[str, Any]) -> dict[str, Any]:
        items = [{**one, key: [*(one.get(key) or []), value]} if one.get("id") == item_id else one for one in data[name]]
        return {**data, name: items}

    by_hand = f"add this to {key}: of {item_id} by hand: {_flow(value)}"
    return _edited(text, lambda: _appended(text, name, item_id, key, value), wanted, by_hand)


def _edited(text: str, edit: Callable[[], str], wanted: Callable[[dict[str, Any]], dict[str, Any]], by_hand: str) -> str:
    """Edit a text, and give the result only where it says what was wanted."""
    ending = "\r\n" if "\r\n" in text else "\n"
    try:
        new = edit()
    except (yaml.YAMLError, StopIteration):
        new = ""
    if ending == "\r\n":
        new = new.replace("\r\n", "\n").replace("\n", ending)
    before = parse_yaml(text, "")
    after = parse_yaml(new, "")
    if isinstance(before, Document) and isinstance(after, Document) and after.data == wanted(dict(before.data or {})):
        return new
    raise EditError(by_hand)


def _appended(text: str, name: List, item_id: str, key: str, value: str) -> str:
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    items = next(found for label, found in root.value if label.value == name)
    item = next(one for one in items.value if any(label.value == "id" and found.value == item_id for label, found in one.value))
    found = next((found for label, found in item.value if label.value == key), None)
    if found is None:
        last = item.value[-1][1]
        if item.flow_style:
            return _put_in(text, _last_end(last), f", {key}: [{_flow(value)}]")
        return _below(text, last, _index(item, "start"), f"{key}: [{_flow(value)}]")
    if found.value and not found.flow_style:
        return _below(text, found.value[-1], text.rfind("-", 0, _index(found.value[0], "start")), f"- {_flow(value)}")
    if found.value:
        return _put_in(text, _last_end(found.value[-1]), f", {_flow(value)}")
    return text[: _index(found, "start")] + f"[{_flow(value)}]" + text[_index(found, "end") :]


def _put_in(text: str, place: int, piece: str) -> str:
    return text[:place] + piece + text[place:]


def _below(text: str, last: yaml.Node, first: int, line: str) -> str:
    """Put a line below the one in which a node ends, as far in as the sign at `first`."""
    indent = first - (text.rfind("\n", 0, first) + 1)
    end = _last_end(last)
    line_end = text.find("\n", end - 1 if text[end - 1] == "\n" else end)
    return _put_in(text, len(text) if line_end < 0 else line_end, f"\n{' ' * indent}{line}")


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
