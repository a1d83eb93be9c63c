"""The filter language: what each query comes to, row by row from the rules."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.mapping import Explanation, QueryError, compile_query, explain, members_of

EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Button Clicked",
    "userId": None,
    "context": {"library": {"name": "analytics.js", "version": "1.0"}},
    "properties": {
        "features": ["discounts", "dark-mode"],
        "numbers": [1, 2.0, True, None, [1]],
        "same": [1.0, 2, True, None, [1]],
        "five": 5,
        "text5": "5",
        "yes": True,
        "no": False,
        "truthy": "true",
        "object": {"a": 1, "b": 2},
        "turned": {"b": 2, "a": 1},
        "wide": "ア",
        "product 1": {"price": "19.99"},
        "1st": 1,
        "and": 1,
        "list-name_2": "x",
        "quote": "it's",
        "backslash": "a\\b",
        "version": "1.10",
        "million": 1e6,
    },
    "integrations": {"All": False},
}


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        # Segment's documented examples
        ("event = 'Button Clicked'", True),
        ("event = 'Screen Tapped'", False),
        ("context.path.path = '/login'", False),
        ("type = 'identify' or type = 'track'", True),
        ("event = 'Button Clicked' and type = 'track'", True),
        ("match( context.library.version, '1.*' )", True),
        ("match( context.library.version, '2.*' )", False),
        ("type = 'track' and ( event = 'Click' or match( event, 'Button *' ) )", True),
        ("!contains( context.library.name, 'js' )", False),
        ("'dark-mode' in properties.features", True),
        ("'blink' in properties.features", False),
        ("!( type in ['track', 'identify'] )", False),
        # equality
        ('properties.five = "5"', False),
        ("properties.text5 = 5", False),
        ("properties.five = 5.0", True),
        ("properties.yes = 1", False),
        ("properties.yes = true", True),
        ("true = 1", False),
        ("null = null", True),
        ("properties.absent = null", True),
        ("userId = null", True),
        ("userId != null", False),
        ('properties.absent != "x"', True),
        ("properties.absent != 5", True),
        ("properties.text5 != 5", True),
        ('"track" = type', True),
        ('"x" != type', True),
        ("properties.features = ['discounts', 'dark-mode']", True),
        ("properties.features = ['dark-mode', 'discounts']", False),
        ("properties.numbers = properties.same", True),
        ("properties.object = properties.object", True),
        ("properties.object = properties.turned", False),
        ("properties.features = properties.object", False),
        ("properties.five = null", False),
        ("type = event", False),
        # order
        ("properties.five > 4", True),
        ("properties.five>4", True),
        ("properties.five >= 5 and properties.five <= 5", True),
        ("properties.five < -5", False),
        ("-5 < properties.five", True),
        ("+5 = properties.five", True),
        ("properties.absent < 5", False),
        ("properties.absent >= 5", False),
        ("properties.yes > 0", False),
        ("properties.text5 > 4", False),
        ('type > "a"', False),
        # in
        ("properties.five in [4, 5]", True),
        ('"5" in [4, 5]', False),
        ("true in properties.numbers", True),
        ("2 in properties.numbers", True),
        ("null in properties.numbers", True),
        ("false in properties.numbers", False),
        ("[1] in properties.numbers", True),
        ('"x" in properties.absent', False),
        ('"x" in "xyz"', False),
        ('properties.five in ["a", "b"]', False),
        ("properties.absent in []", False),
        # truth
        ("properties.yes", True),
        ("properties.truthy", False),
        ("properties.five", False),
        ("!properties.truthy", True),
        ("!properties.absent", True),
        ("properties.truthy and true", False),
        ("properties.five or properties.no", False),
        ("true", True),
        ("null", False),
        ('"x"', False),
        ("!!properties.yes", True),
        ("!type = 'track'", False),
        ("(type) = 'track'", True),
        ("(type = 'track') = true", True),
        # precedence
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("false and false or true", True),
        ("!false and false", False),
        # paths and tokens
        (r"properties.product\ 1.price = '19.99'", True),
        (r"properties.\1st = 1", True),
        (r"properties.and = 1", True),
        (r"\and = null", True),
        ("properties.list-name_2='x'", True),
        ("integrations.All = false", True),
        ("type.length = null", True),
        (r"properties.features.\0 = null", True),
        ('properties.quote = "it\'s"', True),
        (r"properties.backslash = 'a\b'", True),
        ("\ttype\n=\r\n'track' ", True),
        ("all", True),
        (" all ", True),
        ("type!='x'", True),
        # functions
        ("contains(event, 'Click')", True),
        ("contains(event, 'click')", False),
        ("contains(event, '')", True),
        ("contains(userId, '')", False),
        ("contains(properties.five, '5')", False),
        ("!contains(properties.absent, 'a')", True),
        ("match(event, '')", False),
        ("match(properties.absent, '*')", False),
        ("match(event, properties.absent)", False),
        ("match(event, event)", True),
        ("match(event, '[')", False),
        ("match(event, 5)", False),
        ("length(properties.wide) = 3", True),
        ("length(properties.features) = 2", True),
        ("length(properties.absent) = 0", True),
        ("length(userId) > 0", False),
        ("length(properties.five) = 0", False),
        ("length(properties.object) >= 0", False),
        ("length(properties.object) < 9", False),
        ("length([1, 2]) = 2", True),
        ("lowercase(event) = 'button clicked'", True),
        ("lowercase(properties.five) = null", True),
        ("uppercase(type) = 'TRACK'", True),
        ("typeof(type) = 'string'", True),
        ("typeof(properties.five) = 'number'", True),
        ("typeof(properties.million) = 'number'", True),
        ("typeof(properties.features) = 'list'", True),
        ("typeof(properties.yes) = 'bool'", True),
        ("typeof(properties.absent) = 'null'", True),
        ("typeof(properties.object) = 'object'", True),
        ("snakecase('test string') = 'test_string'", True),
        ("kebabcase('test string') = 'test-string'", True),
        ("titlecase('test string') = 'Test String'", True),
        ("titlecase(null) = null", True),
        ("bool('true')", True),
        ("bool('yes')", False),
        ("bool(1)", True),
        ("bool(null)", False),
        ("string(5.0) = '5'", True),
        ("string(type) = 'track'", True),
        ("string(true) = 'true'", True),
        ("string(null) = null", True),
        ("string([1, 'a']) = '[1,\"a\"]'", True),
        ("number('5') = 5", True),
        ("number('1.5') = 1.5", True),
        ("number(' 5') = null", True),
        ("number('0x10') = null", True),
        ("number('1e400') > 5", True),
        ("number(5) = 5", True),
        ("number(true) = null", True),
        ("semver(properties.version, '>', '1.9')", True),
        ("semver('1', '=', '1.0.0')", True),
        ("semver('1.0.0-beta', '<', '2')", False),
        ("semver(null, '=', '1')", False),
        ("semver('1', '~', '1')", False),
        ("semver('1', 5, '1')", False),
        ("number('9007199254740993') > 5", True),
        ("1234567890123456789012345 > 5", True),
    ],
)
def test_query(query: str, verdict: bool) -> None:  # noqa: FBT001 (a column of the table)
    """Each query gives its verdict, and it is a plain boolean."""
    assert compile_query(query)(EVENT) is verdict


@pytest.mark.parametrize(
    ("query", "column", "message", "hint"),
    [
        ("", 1, "the query is empty", "all"),
        ("  ", 1, "the query is empty", "all"),
        ("type == 'x'", 7, "expected a value, found =", "equality is written ="),
        ("type = 'x' AND true", 12, "expected and, or, or the end, found AND", "lower-case: and"),
        ("type = ", 8, "expected a value, found the end", ""),
        ('userId = oops"', 14, 'unexpected "', "never closed"),
        ("type = 'x", 8, "unexpected '", "never closed"),
        ("a && b", 3, "unexpected &", "and"),
        ("a || b", 3, "unexpected |", "or"),
        ("a[0] = 1", 2, "expected and, or, or the end, found [", "no indexes"),
        ("a.1b = 2", 2, "unexpected .", "backslash"),
        ("a..b", 2, "unexpected .", "single dots"),
        ("1a = 2", 1, "a number runs into a name", "backslash"),
        ("1.a = 2", 1, "a number runs into a name", "backslash"),
        ("a = b = c", 7, "expected and, or, or the end, found =", "two sides"),
        ("track page", 7, "expected and, or, or the end, found page", "quotes"),
        ("(a", 3, "expected ), found the end", ""),
        ("a)", 2, "expected and, or, or the end, found )", ""),
        ("a in [1, ", 10, "expected a value, found the end", ""),
        ("a in [1 2]", 9, "expected ,, found 2", ""),
        ("contain(a, 'b')", 1, "unknown function contain", "did you mean contains?"),
        ("qqqqqq(a)", 1, "unknown function qqqqqq", "functions: bool"),
        ("a.length(b)", 1, "unknown function a.length", ""),
        ("contains(a)", 1, "contains takes 2 values, found 1", "contains(text, part)"),
        ("and", 1, "expected a value, found and", ""),
        ("a = é", 5, "unexpected é", "backslash"),
        ("a = “x”", 5, "unexpected “", "quotes are"),
        ("a\\", 2, "unexpected \\", "escapes"),
        ("!" * 65 + "a", 66, "nested more than 64 levels deep", "flatter"),
        ("(" * 2000, 66, "nested more than 64 levels deep", ""),
        ("[" * 2000, 66, "nested more than 64 levels deep", ""),
    ],
)
def test_bad_query(query: str, column: int, message: str, hint: str) -> None:
    """A query that is not FQL is refused with the column, what is wrong, and a hint."""
    with pytest.raises(QueryError) as caught:
        compile_query(query)

    error = caught.value
    assert (error.column, error.message) == (column, message)
    assert hint in error.hint
    assert str(error).startswith(f"column {column}: {message}")


@pytest.mark.parametrize("event", [None, 5, "x", [1], {"a": {"b": 5}}, {"a": None}])
def test_path_through_what_is_no_object(event: object) -> None:
    """Walking through a non-object gives null."""
    assert compile_query("a.b.c = null")(event)


def test_explain() -> None:
    """Each part of a query is told with its value, also those that the whole did not need."""
    found = explain('type = "page" and (!contains(event, "x") or length(a.b) > 0)', {"type": "track", "event": "x"})

    assert found == Explanation(
        'type = "page" and (!contains(event, "x") or length(a.b) > 0)',
        value=False,
        parts=(
            Explanation('type = "page"', value=False, parts=(Explanation("type", "track"),)),
            Explanation(
                '(!contains(event, "x") or length(a.b) > 0)',
                value=False,
                parts=(
                    Explanation(
                        '!contains(event, "x")',
                        value=False,
                        parts=(Explanation('contains(event, "x")', value=True, parts=(Explanation("event", "x"),)),),
                    ),
                    Explanation("length(a.b) > 0", value=False, parts=(Explanation("length(a.b)", 0, (Explanation("a.b", None),)),)),
                ),
            ),
        ),
    )


def test_explain_keeps_the_order_of_sides() -> None:
    """A literal on the left changes nothing in what is told."""
    assert explain("5 = a", {"a": 5}) == Explanation("5 = a", value=True, parts=(Explanation("a", 5),))


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("all", set()),
        ("1 = 1", set()),
        ('type = "track" and event = "Debug"', {"type", "event"}),
        ('!(context.page.path in ["/", traits.home]) or match(event, "Order *")', {"context", "traits", "event"}),
        ("length(properties.items) > 2", {"properties"}),
        ("a\\.b.c = null", {"a.b"}),
    ],
)
def test_members_of_a_query(query: str, members: set[str]) -> None:
    """A query looks at the first names of its paths and at nothing else."""
    assert members == members_of(query)
