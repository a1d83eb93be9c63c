"""YAML text to plain data that knows the line and column of everything in it.

The rules are YAML 1.2's core schema: `yes`, `on`, `1:30` and dates are text, as they look. Anchors, aliases and tags are refused (they can make a
small file large, or more than data), and so are keys that stand twice.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple

import yaml

from pipeline.declaration.problems import Path, Problem, path_text

BYTES_MOST: Final = 1024 * 1024
"""Largest declared file."""
DEPTH_MOST: Final = 64
"""Deepest nesting of a declared file."""

_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_PREFIXED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DIGITS_MOST: Final = 300
"""Longer numbers stay text: nothing that is declared is so large, and Python refuses to read integers of 4,300 digits."""


class Place(NamedTuple):
    """Where something stands: line and column, both from 1."""

    line: int
    column: int


class Document(NamedTuple):
    """One parsed file.

    Attributes:
        file: Name of the file.
        data: Its content: objects, lists, text, numbers, booleans, null.
        values: Where each value stands, by path; for an object or a list, where its key stands.
        keys: Where each key stands, by path.
    """

    file: str
    data: Any
    values: dict[Path, Place]
    keys: dict[Path, Place]

    def problem(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Make a problem of a place in this file.

        Args:
            path: The place; where it does not exist, the nearest that does is shown.
            message: What is wrong.
            hint: What to do about it.
            key: Whether the key is wrong, not its value.

        Returns:
            The problem with line and column.
        """
        place: Place | None = self.keys.get(path) if key else None
        known = path
        while place is None:
            place = self.values.get(known)
            if not known:
                break
            known = known[:-1]
        line, column = place or Place(1, 1)
        return Problem(self.file, line, column, path_text(path), message, hint)


def parse_yaml(text: str, file: str) -> Document | list[Problem]:
    """Parse one file.

    Args:
        text: Its text.
        file: Its name, for problems.

    Returns:
        The document, or what is wrong with the text: its syntax (only the first fault is known), or every key that stands twice.
    """
    if len(text.encode("utf-8", "replace")) > BYTES_MOST:
        return [Problem(file, 1, 1, "", f"the file is larger than {BYTES_MOST // 1024} KiB", "declare a folder of smaller files")]
    refused = _refused_events(text, file)
    if refused is not None:
        return [refused]
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    reading = _Reading(file)
    data = None if node is None else reading.value(node, ())
    if reading.problems:
        return reading.problems
    return Document(file, data, reading.values, reading.keys)


def _refused_events(text: str, file: str) -> Problem | None:
    """Look at the flat stream of events first, so that nothing deep or tagged ever reaches the recursive part of the parser."""
    depth = 0
    documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            message, hint = _refusal(event, depth, documents)
            if message:
                return Problem(file, *_place(event), "", message, hint)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(file, *where, "", f"not YAML: {error.problem or error.context}", _syntax_hint(str(error.problem)))
    except yaml.YAMLError as error:
        return Problem(file, 1, 1, "", f"not YAML: {str(error).splitlines()[0]}", "write UTF-8 text without control characters")
    return None


def _refusal(event: yaml.Event, depth: int, documents: int) -> tuple[str, str]:
    if depth > DEPTH_MOST:
        return f"nested deeper than {DEPTH_MOST} levels", ""
    if documents > 1:
        return "a second document begins here", "one file holds one document: remove the line ---, or use two files"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases (& and *) are not allowed", 'write the value out; quote it ("*") where the character is meant'
    if getattr(event, "tag", None):
        return "tags (!) are not allowed", 'quote the value ("!") where the character is meant'
    return "", ""


def _syntax_hint(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "quote the text that holds a colon, or check the indentation"
    if "found character '\\t'" in problem:
        return "indent with spaces, not tabs"
    if "expected <block end>" in problem:
        return "check the indentation of this line and of the ones before it"
    return ""


class _Reading:
    """Data, places and doubled keys of one document, gathered while its nodes are walked."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Path) -> Any:  # noqa: ANN401 (any JSON value)
        place = _place(node)
        if isinstance(node, yaml.ScalarNode):
            self.values[path] = place
            return node.value if node.style else _plain(node.value)
        self.values[path] = self.keys.get(path, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._object(node, path)

    def _object(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in node.value:
            place = _place(key)
            if not isinstance(key, yaml.ScalarNode):
                self._add(place, path, "a key must be text", 'quote it: "…"')
                continue
            name = str(key.value)
            if name in result:
                first = self.keys[(*path, name)]
                self._add(place, (*path, name), f"the key {name} stands twice", f"the first is on line {first.line}; keep one of them")
                continue
            self.keys[(*path, name)] = place
            result[name] = self.value(item, (*path, name))
        return result

    def _add(self, place: Place, path: Path, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, *place, path_text(path), message, hint))


def _place(marked: yaml.Node | yaml.Event) -> Place:
    mark = marked.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)


def _plain(text: str) -> Any:  # noqa: ANN401 (null, a boolean, a number or text)
    """Read an unquoted scalar by YAML 1.2's core schema (section 10.3.2), without infinity and not-a-number, which JSON lacks."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _DIGITS_MOST:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _PREFIXED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not math.isinf(float(text)):
        return float(text)
    return text
