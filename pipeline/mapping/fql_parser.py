"""A query's tokens to a tree of terms; `and` binds tighter than `or`.

Source of the grammar: reference/mapping.md §2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

from pipeline.mapping.fql_functions import FUNCTIONS
from pipeline.mapping.fql_lexer import Token, tokens
from pipeline.mapping.problems import QueryError
from pipeline.mapping.values import JSON

DEPTH_LIMIT: Final = 64
"""Levels of parentheses, lists, calls and negations that a query may have."""

_COMPARISONS: Final = frozenset(("=", "!=", "<", "<=", ">", ">=", "in"))
_KEYWORDS: Final = frozenset(("and", "or", "in"))
_CONSTANTS: Final[dict[str, JSON]] = {"true": True, "false": False, "null": None}


class Term(NamedTuple):
    """One part of a query.

    Attributes:
        kind: What it is.
        start: Index of its first character in the query.
        end: Index behind its last character.
        value: A literal's value, a path's names, a comparison's operator, or a function's name.
        parts: The operands, items or arguments.
    """

    kind: Literal["literal", "list", "path", "call", "compare", "not", "and", "or"]
    start: int
    end: int
    value: JSON = None
    parts: tuple[Term, ...] = ()


def parse(query: str) -> Term:
    """Parse a query.

    Raises:
        QueryError: It is no FQL; names the column of the first token that does not fit.
    """
    if query.strip() == "all":
        return Term("literal", 0, len(query), value=True)
    parser = _Parser(tokens(query))
    if parser.token().kind == "end":
        raise QueryError("the query is empty", 1, "write all to choose every event")
    term = parser.disjunction()
    if parser.token().kind != "end":
        raise parser.unexpected("and, or, or the end")
    return term


class _Parser:
    """Recursive descent over the tokens, one method a rule of the grammar."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._position = 0
        self._depth = 0

    def token(self) -> Token:
        """Return the token that is to be read next."""
        return self._tokens[self._position]

    def unexpected(self, wanted: str) -> QueryError:
        """Return the error for a token that does not fit."""
        return QueryError(f"expected {wanted}, found {self.token().raw}", self.token().start + 1, self._hint())

    def _hint(self) -> str:
        raw, before = self.token().raw, self._tokens[self._position - 1] if self._position else None
        if raw == "=" and before is not None and before.raw in ("=", "<", ">", "!"):
            return "equality is written ="
        if raw.lower() in _KEYWORDS and raw not in _KEYWORDS:
            return f"keywords are lower-case: {raw.lower()}"
        if raw == "[" and before is not None and before.kind == "name":
            return "paths have no indexes; write value in path"
        if raw in _COMPARISONS and raw != "in":
            return "a comparison has two sides; join several by and"
        return "texts stand in quotes" if self.token().kind == "name" else ""

    def _at(self, raw: str) -> bool:
        return self.token().raw == raw and self.token().kind in ("sign", "name")

    def _take(self, raw: str) -> Token:
        token = self.token()
        if not self._at(raw):
            raise self.unexpected(raw)
        self._position += 1
        return token

    def _deeper(self, rule: Callable[[], Term]) -> Term:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise QueryError(f"nested more than {DEPTH_LIMIT} levels deep", self.token().start + 1, "make it flatter")
        term = rule()
        self._depth -= 1
        return term

    def disjunction(self) -> Term:
        return self._joined("or", self._conjunction)

    def _conjunction(self) -> Term:
        return self._joined("and", self._unary)

    def _joined(self, word: Literal["and", "or"], operand: Callable[[], Term]) -> Term:
        terms = [operand()]
        while self._at(word):
            self._position += 1
            terms.append(operand())
        return terms[0] if len(terms) == 1 else Term(word, terms[0].start, terms[-1].end, parts=tuple(terms))

    def _unary(self) -> Term:
        if not self._at("!"):
            return self._comparison()
        start = self._take("!").start
        term = self._deeper(self._unary)
        return Term("not", start, term.end, parts=(term,))

    def _comparison(self) -> Term:
        left = self._value()
        if self.token().raw not in _COMPARISONS or self.token().kind not in ("sign", "name"):
            return left
        operator = self.token().raw
        self._position += 1
        right = self._value()
        return Term("compare", left.start, right.end, operator, (left, right))

    def _value(self) -> Term:
        token = self.token()
        if self._at("("):
            self._position += 1
            term = self._deeper(self.disjunction)
            return term._replace(start=token.start, end=self._take(")").end)
        if self._at("["):
            self._position += 1
            parts, end = self._sequence("]")
            return Term("list", token.start, end, parts=parts)
        if token.kind in ("sign", "end") or token.raw in _KEYWORDS:
            raise self.unexpected("a value")
        self._position += 1
        if token.kind != "name":
            return Term("literal", token.start, token.end, token.value)
        if token.raw in _CONSTANTS:
            return Term("literal", token.start, token.end, _CONSTANTS[token.raw])
        return self._call(token) if self._at("(") else Term("path", token.start, token.end, token.value)

    def _call(self, name: Token) -> Term:
        function = FUNCTIONS.get(name.raw)
        if function is None:
            near = get_close_matches(name.raw, FUNCTIONS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "functions: " + ", ".join(sorted(FUNCTIONS))
            raise QueryError(f"unknown function {name.raw}", name.start + 1, hint)
        self._take("(")
        parts, end = self._sequence(")")
        if len(parts) != function.arity:
            raise QueryError(f"{name.raw} takes {function.arity} values, found {len(parts)}", name.start + 1, function.signature)
        return Term("call", name.start, end, name.raw, parts)

    def _sequence(self, closing: str) -> tuple[tuple[Term, ...], int]:
        parts: list[Term] = []
        while not self._at(closing):
            if parts:
                self._take(",")
            parts.append(self._deeper(self._value))
        return tuple(parts), self._take(closing).end
