"""From a mapping's JSON to closures: raw values, lists, objects, and the place where a directive is compiled.

Source of the rules: reference/mapping.md §1.1, §1.2, §1.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from pipeline.mapping.problems import MappingError, Problem
from pipeline.mapping.values import JSON, MISSING, sweep, type_name

Resolve = Callable[[JSON], JSON]
"""Takes the event, gives the value."""

DEPTH_LIMIT: Final = 64
"""Levels of nesting that a mapping may have: as many as an event."""


class Node(NamedTuple):
    """One compiled part of a mapping.

    Attributes:
        resolve: Gives the value with `MISSING` still inside objects and lists, which `@merge` needs.
        finish: Gives the value with nothing missing inside. Where it is the same function as `resolve`, nothing ever
            is. The value as a whole may be `MISSING` in both: whoever holds it decides what that means.
    """

    resolve: Resolve
    finish: Resolve


class Scope(NamedTuple):
    """What is known of the event that a part of a mapping will meet.

    Attributes:
        holes: Whether that event may itself have `MISSING` inside: an item of an `@arrayPath`, the payload of a
            `@transform`.
        hole: What a missing list item becomes at the end: null, or `MISSING` while a `@transform` still looks at it.
    """

    holes: bool = False
    hole: JSON = None


Directive = Callable[["Place", JSON], Node]
"""Compiles the argument of one directive at its place; reports problems there and then returns any node."""


def constant(value: JSON) -> Node:
    """Return the node of a value that no event changes (null, boolean, number, string or missing)."""

    def give(_event: JSON) -> JSON:
        return value

    return Node(give, give)


def plain(resolve: Resolve) -> Node:
    """Return the node of a function whose values never have anything missing inside."""
    return Node(resolve, resolve)


WHOLE_EVENT: Final = Scope()
"""The scope of a mapping's root: an event as it was parsed."""

NOTHING: Final = constant(MISSING)
"""The node of what is not there, and of what could not be compiled."""


class Place:
    """Where in a mapping the compiler stands; collects problems and compiles what lies below.

    Attributes:
        path: Keys and indexes from the root.
        scope: What is known of the event here.
    """

    __slots__ = ("_directives", "_problems", "path", "scope")

    def __init__(
        self,
        directives: Mapping[str, Directive],
        problems: list[Problem],
        path: tuple[str, ...] = (),
        scope: Scope = WHOLE_EVENT,
    ) -> None:
        """Stand at a path, with the directives that exist and the list that takes the problems."""
        self._directives = directives
        self._problems = problems
        self.path = path
        self.scope = scope

    def below(self, key: str | int, scope: Scope | None = None) -> Place:
        """Return the place one key further down."""
        return Place(self._directives, self._problems, (*self.path, str(key)), self.scope if scope is None else scope)

    def problem(self, message: str, hint: str = "") -> Node:
        """Report a problem here; return `NOTHING`, so that compiling goes on and finds the others."""
        self._problems.append(self._problem(message, hint))
        return NOTHING

    def failure(self, message: str, hint: str = "") -> MappingError:
        """Return the error that a compiled directive at this place raises when an event is at fault."""
        return MappingError((self._problem(message, hint),))

    def _problem(self, message: str, hint: str) -> Problem:
        return Problem("/" + "/".join(self.path), message, hint)

    def compile(self, value: JSON) -> Node:
        """Compile any part of a mapping at this place."""
        if len(self.path) > DEPTH_LIMIT:
            return self.problem(f"is nested more than {DEPTH_LIMIT} levels deep")
        if isinstance(value, dict):
            return self._compile_keys(value)
        if isinstance(value, list):
            return _list_node([self.below(index).compile(item) for index, item in enumerate(value)], self.scope.hole)
        if value is None or isinstance(value, (bool, int, float, str)):
            return constant(value)
        return self.problem(f"is {type_name(value)}", "write it as a string")

    def compile_text(self, value: JSON) -> Node:
        """Compile what has to be a string, or a directive that gives one."""
        if isinstance(value, str) or is_directive(value):
            return self.compile(value)
        return self.problem(f"needs a string or a directive, but it is {type_name(value)}")

    def fields(self, argument: JSON, required: tuple[str, ...] = ()) -> dict[str, JSON] | None:
        """Check that a directive's argument is a raw object with all keys that it needs; None where it is not."""
        if not isinstance(argument, dict):
            self.problem(f"needs an object, but it is {type_name(argument)}")
            return None
        if has_directive_key(argument):
            self.problem("needs an object of settings, not a directive")
            return None
        absent = [key for key in required if key not in argument]
        for key in absent:
            self.problem(f'needs the field "{key}"')
        return None if absent else argument

    def _compile_keys(self, value: dict[JSON, JSON]) -> Node:
        for key in value:
            if not isinstance(key, str):
                return self.problem(f"has the key {key!r}, which is {type_name(key)}", "keys are strings: quote it")
        if has_directive_key(value):
            return self._compile_directive(value)
        return _object_node({key: self.below(key).compile(item) for key, item in value.items()})

    def _compile_directive(self, value: dict[str, JSON]) -> Node:
        names = [key for key in value if key.startswith("@")]
        others = [key for key in value if not key.startswith("@") and key != "_metadata"]
        if len(names) > 1:
            return self.problem(f"has the directives {', '.join(names)}", "an object holds one directive; nest them")
        if others:
            return self.problem(f"has {', '.join(others)} beside {names[0]}", "a directive stands alone in its object")
        directive = self._directives.get(names[0])
        if directive is None:
            near = get_close_matches(names[0], self._directives, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(self._directives))
            return self.problem(f"has an unknown directive: {names[0]}", hint)
        return directive(self.below(names[0]), value[names[0]])


def has_directive_key(value: dict[JSON, JSON]) -> bool:
    """Tell whether an object has a key that starts with `@`."""
    return any(isinstance(key, str) and key.startswith("@") for key in value)


def is_directive(value: JSON) -> bool:
    """Tell whether a part of a mapping is written as a directive, right or wrong."""
    return isinstance(value, dict) and has_directive_key(value)


def _object_node(children: dict[str, Node]) -> Node:
    resolvers = tuple((key, node.resolve) for key, node in children.items())
    finishers = tuple((key, node.finish) for key, node in children.items())

    def resolve(event: JSON) -> JSON:
        return {key: child(event) for key, child in resolvers}

    def finish(event: JSON) -> JSON:
        result = {}
        for key, child in finishers:
            value = child(event)
            if value is not MISSING:
                result[key] = value
        return result

    return Node(resolve, finish)


def _list_node(children: list[Node], hole: JSON) -> Node:
    resolvers = tuple(node.resolve for node in children)
    finishers = tuple(node.finish for node in children)

    def resolve(event: JSON) -> JSON:
        return [child(event) for child in resolvers]

    def finish(event: JSON) -> JSON:
        return [hole if (value := child(event)) is MISSING else value for child in finishers]

    return Node(resolve, finish)


def swept(resolve: Resolve, scope: Scope, *, holes: bool) -> Node:
    """Return a node that sweeps what it resolved, where anything inside can be missing at all."""
    if not holes:
        return plain(resolve)
    hole = scope.hole

    def finish(event: JSON) -> JSON:
        return sweep(resolve(event), hole)

    return Node(resolve, finish)


def may_have_holes(node: Node) -> bool:
    """Tell whether a node's values may have something missing inside."""
    return node.finish is not node.resolve
