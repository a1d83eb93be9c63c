"""The filter language (FQL): which events a trigger fires for and a filter takes.

Source of the rules: reference/mapping.md §2. One engine by the documented rules, for triggers and filters alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipeline.mapping.fql_functions import FUNCTIONS, contained, equal, ordered
from pipeline.mapping.fql_parser import Term, parse
from pipeline.mapping.glob import compile_glob
from pipeline.mapping.values import JSON

Evaluate = Callable[[JSON], JSON]
"""A compiled term: takes the event, gives the term's value; never raises."""


class Explanation(NamedTuple):
    """What one part of a query came to for one event.

    Attributes:
        text: The part as written.
        value: Its value: true or false of a condition, the value of a path (null where it is missing) or call.
        parts: The same of the parts inside it; literals are left out.
    """

    text: str
    value: JSON
    parts: tuple[Explanation, ...] = ()


def compile_query(query: str) -> Callable[[JSON], bool]:
    """Compile a query to a function from an event to true or false.

    Args:
        query: FQL, such as `type = "track" and match(event, "Order *")`; `all` alone takes every event.

    Returns:
        A pure function of a parsed JSON event, which it leaves as it is. It never raises.

    Raises:
        QueryError: The query is no FQL; names the column and gives a hint.

    Source: reference/mapping.md §2.
    """
    term = parse(query)
    evaluate = _compile(term)
    if term.kind in ("and", "or", "not", "compare"):
        return evaluate
    return lambda event: evaluate(event) is True


def explain(query: str, event: JSON) -> Explanation:
    """Tell what each part of a query comes to for an event, also parts that the whole did not need.

    Args:
        query: FQL.
        event: Parsed JSON.

    Returns:
        The tree of the query's parts with their values.

    Raises:
        QueryError: The query is no FQL.
    """
    return _explain(parse(query), query, event)


def members_of(query: str) -> frozenset[str]:
    """Name the members of an event that a query looks at.

    Args:
        query: FQL.

    Returns:
        The first names of its paths.

    Raises:
        QueryError: The query is no FQL.
    """
    return frozenset(_members(parse(query)))


def _members(term: Term) -> Iterator[str]:
    if term.kind == "path":
        yield term.value[0]
    for part in term.parts:
        yield from _members(part)


def _explain(term: Term, query: str, event: JSON) -> Explanation:
    parts = tuple(_explain(part, query, event) for part in term.parts if part.kind != "literal")
    return Explanation(query[term.start : term.end], _compile(term)(event), parts)


def _compile(term: Term) -> Evaluate:
    return _COMPILERS[term.kind](term)


def _literal(term: Term) -> Evaluate:
    value = term.value
    return lambda _event: value


def _list(term: Term) -> Evaluate:
    items = tuple(map(_compile, term.parts))
    return lambda event: [item(event) for item in items]


def _path(term: Term) -> Evaluate:
    names: tuple[str, ...] = term.value
    if len(names) == 1:
        name = names[0]
        return lambda event: event.get(name) if isinstance(event, dict) else None

    def look(event: JSON) -> JSON:
        value = event
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return look


def _negation(term: Term) -> Evaluate:
    inner = _compile(term.parts[0])
    return lambda event: inner(event) is not True


def _conjunction(term: Term) -> Evaluate:
    parts = tuple(map(_compile, term.parts))

    def evaluate(event: JSON) -> JSON:
        for part in parts:  # noqa: SIM110 (a generator for all() costs more than the comparisons)
            if part(event) is not True:
                return False
        return True

    return evaluate


def _disjunction(term: Term) -> Evaluate:
    parts = tuple(map(_compile, term.parts))

    def evaluate(event: JSON) -> JSON:
        for part in parts:  # noqa: SIM110 (a generator for any() costs more than the comparisons)
            if part(event) is True:
                return True
        return False

    return evaluate


def _comparison(term: Term) -> Evaluate:
    left, right = term.parts
    if left.kind == "literal" and term.value in ("=", "!="):
        left, right = right, left
    first, second = _compile(left), _compile(right)
    if term.value in ("=", "!="):
        text = right.value if right.kind == "literal" and isinstance(right.value, str) else None
        return _equality(first, second, text, negated=term.value == "!=")
    if term.value == "in":
        return _membership(first, right, second)
    compare = ordered(term.value)
    return lambda event: compare(first(event), second(event))


def _equality(first: Evaluate, second: Evaluate, text: str | None, *, negated: bool) -> Evaluate:
    """Compile `=` or `!=`; `text` is the second side where that is a literal string, which nothing but a string equals."""
    if text is None:
        return lambda event: equal(first(event), second(event)) is not negated
    if negated:
        return lambda event: first(event) != text
    return lambda event: first(event) == text


def _membership(item: Evaluate, right: Term, values: Evaluate) -> Evaluate:
    if right.kind == "list" and all(part.kind == "literal" and isinstance(part.value, str) for part in right.parts):
        texts = frozenset(part.value for part in right.parts)

        def among(event: JSON) -> JSON:
            value = item(event)
            return isinstance(value, str) and value in texts

        return among
    return lambda event: contained(item(event), values(event))


def _call(term: Term) -> Evaluate:
    evaluate = FUNCTIONS[term.value].evaluate
    arguments = tuple(map(_compile, term.parts))
    if term.value == "match" and term.parts[1].kind == "literal" and isinstance(term.parts[1].value, str):
        subject, matches = arguments[0], compile_glob(term.parts[1].value)

        def match(event: JSON) -> JSON:
            value = subject(event)
            return isinstance(value, str) and matches(value)

        return match
    if len(arguments) == 1:
        only = arguments[0]
        return lambda event: evaluate(only(event))
    return lambda event: evaluate(*[argument(event) for argument in arguments])


_COMPILERS: Final[dict[str, Callable[[Term], Evaluate]]] = {
    "literal": _literal,
    "list": _list,
    "path": _path,
    "call": _call,
    "compare": _comparison,
    "not": _negation,
    "and": _conjunction,
    "or": _disjunction,
}
