"""References to secrets, found and told from what only looks like one."""

from pipeline.declaration import Reference, is_reference, references_in
from pipeline.declaration.references import broken_references


def test_references_are_found_from_left_to_right() -> None:
    """Both kinds, with the text as it stands and the name without blanks."""
    assert references_in("a ${env:A} b ${file: /x/y } ${C}") == (
        Reference("${env:A}", "env", "A"),
        Reference("${file: /x/y }", "file", "/x/y"),
    )


def test_only_a_reference_alone_is_one() -> None:
    """Text around it makes it a text with a reference in it."""
    assert [is_reference(text) for text in ("${env:A}", "Bearer ${env:A}", "${env:}", "${secret:A}", "A")] == [True, False, False, False, False]


def test_what_looks_like_a_reference_is_named() -> None:
    """A wrong kind, an empty name, and a brace that is never closed."""
    assert broken_references("${A} ${env:} ${env:B} ${file:C") == ("${A}", "${env:}", "${file:C")
