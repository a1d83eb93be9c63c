"""Adding to a workspace's file: every other byte stays, comments among them, and the result says what was asked."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.app.cli.editing import EditError, add_item, add_to_list
from pipeline.declaration.yaml_text import Document, parse_yaml

_WEB = {"id": "web", "write_keys": ["${env:WEB_WRITE_KEY}"]}


def _data(text: str) -> Any:  # noqa: ANN401 (any JSON value)
    document = parse_yaml(text, "")
    assert isinstance(document, Document)
    return document.data


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # an empty list, with a comment behind it
        ("workspace: a\nsources: []  # none yet\n# tools\nstorage: []\n", "workspace: a\nsources:  # none yet\n  - id: web\n# tools\nstorage: []\n"),
        ("workspace: a\nsources:\n# tools\n", "workspace: a\nsources:\n  - id: web\n# tools\n"),
        # a block list: below its last item, above the comment of what follows
        (
            "sources:\n  # first\n  - id: a  # keep\n    enabled: true  # yes\n\n# tools\nworkspace: a\n",
            "sources:\n  # first\n  - id: a  # keep\n    enabled: true  # yes\n  - id: web\n\n# tools\nworkspace: a\n",
        ),
        # as far in as the others
        ("sources:\n- id: a\nworkspace: a\n", "sources:\n- id: a\n- id: web\nworkspace: a\n"),
        ("sources:\n    - id: a\nworkspace: a\n", "sources:\n    - id: a\n    - id: web\nworkspace: a\n"),
        # the end of the file, with and without its line break
        ("sources:\n  - id: a", "sources:\n  - id: a\n  - id: web\n"),
        ("workspace: a", "workspace: a\n\nsources:\n  - id: web\n"),
        # on one line
        ("sources: [{id: a}]  # c\n", "sources: [{id: a}, {id: web}]  # c\n"),
        # a last item that ends in a block of text
        ("sources:\n  - id: |\n      a\nworkspace: a\n", "sources:\n  - id: |\n      a\n  - id: web\nworkspace: a\n"),
        # line ends of Windows
        ("sources:\r\n  - id: a\r\nworkspace: a\r\n", "sources:\r\n  - id: a\r\n  - id: web\r\nworkspace: a\r\n"),
        ("", "sources:\n  - id: web\n"),
    ],
)
def test_an_item_is_put_below_the_others(before: str, after: str) -> None:
    """The new text is the old one with lines put in, whatever way the list is written."""
    assert add_item(before, "sources", {"id": "web"}) == after


def test_references_are_quoted() -> None:
    """Braces would be read as an object."""
    assert add_item("", "sources", _WEB) == 'sources:\n  - id: web\n    write_keys: ["${env:WEB_WRITE_KEY}"]\n'


def test_what_cannot_be_added_to_is_said_with_the_lines_to_add() -> None:
    """A value that is no list is left to the author."""
    with pytest.raises(EditError, match="add this to sources: by hand:\n  - id: web"):
        add_item("sources: none\n", "sources", {"id": "web"})
    with pytest.raises(EditError):
        add_item("sources: [}\n", "sources", {"id": "web"})


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)
_FILES = st.sampled_from(
    [
        "",
        "# only a comment\n",
        "workspace: a\n",
        "workspace: a\nsources: []\n",
        "sources:\n  - id: a  # x\n\n  # end\nworkspace: a\n",
        "sources:\n- {id: a}\n",
        "sources: [\n  {id: a},  # x\n]\n",
    ]
)


@settings(deadline=None)  # a busy machine decides nothing
@given(
    _FILES,
    st.dictionaries(
        _TEXTS, _TEXTS | st.booleans() | st.integers() | st.lists(_TEXTS, max_size=2) | st.dictionaries(_TEXTS, _TEXTS, max_size=2), min_size=1
    ),
)
def test_every_item_reads_back(text: str, item: dict[str, Any]) -> None:
    """Whatever is in it, the item stands last in the list, and each old line is still there, in order."""
    after = add_item(text, "sources", item)
    assert _data(after)["sources"][-1] == item
    rest = iter(after.splitlines())
    if "[" not in text:
        assert all(line in rest for line in text.rstrip().splitlines())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sources:\n  - id: a\n    write_keys: [k]  # one\n", "sources:\n  - id: a\n    write_keys: [k, new]  # one\n"),
        (
            "sources:\n  - id: a\n    write_keys:\n      - k  # one\n# end\n",
            "sources:\n  - id: a\n    write_keys:\n      - k  # one\n      - new\n# end\n",
        ),
        ("sources:\n  - id: a  # first\n  - id: b\n", "sources:\n  - id: a  # first\n    write_keys: [new]\n  - id: b\n"),
        ("sources: [{id: a, enabled: true}, {id: b}]\n", "sources: [{id: a, enabled: true, write_keys: [new]}, {id: b}]\n"),
        ("sources:\n  - {id: a, write_keys: []}\n", "sources:\n  - {id: a, write_keys: [new]}\n"),
        ("sources:\n  - id: a", "sources:\n  - id: a\n    write_keys: [new]"),
        ("sources:\n  - id: a\n    schemas:\n      E: {}\n# end\n", "sources:\n  - id: a\n    schemas:\n      E: {}\n    write_keys: [new]\n# end\n"),
    ],
)
def test_a_list_of_an_object_grows_where_it_stands(before: str, after: str) -> None:
    """On one line or in a block, there or not: comments and neighbours stay."""
    assert after == add_to_list(before, "sources", "a", "write_keys", "new")
    assert after.replace("\n", "\r\n") == add_to_list(before.replace("\n", "\r\n"), "sources", "a", "write_keys", "new")


def test_a_list_that_is_an_alias_is_left_alone() -> None:
    """What to do by hand is said instead."""
    with pytest.raises(EditError, match="by hand"):
        add_to_list("x: &k [k]\nsources:\n  - {id: a, write_keys: *k}\n", "sources", "a", "write_keys", "new")
