"""Names of columns, tables and events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.names import NAME_CHARACTERS, column_name, event_slug, folder_value, snake_case


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("samPLE text", "sam_ple_text"),
        ("CStringRef", "cstring_ref"),
        ("2FA Enabled", "2fa_enabled"),
        ("test5", "test5"),
        ("f_pX9", "f_p_x9"),
        ("sample 2 Text", "sample_2_text"),
        ("___$$Base64Encode", "base64_encode"),
        ("$something%", "something"),
        ("Order Completed", "order_completed"),
        ("größe", "gr_e"),
        ("日本語", ""),
        ("", ""),
    ],
)
def test_snake_case_folds_as_segment_does(name: str, expected: str) -> None:
    """The published vectors fold to the published names; what has no ASCII letter or digit folds to nothing."""
    assert snake_case(name) == expected


@given(st.text())
def test_snake_case_of_a_folded_name_is_the_name(name: str) -> None:
    """Folding twice is folding once."""
    folded = snake_case(name)
    assert snake_case(folded) == folded


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["product_id", "sku"], "product_id_sku"),
        (["context", "app", "version"], "context_app_version"),
        (["context", "日本", "userAgent"], "context_user_agent"),
        (["address", "日本"], ""),
    ],
)
def test_column_name_joins_keys(path: list[str], expected: str) -> None:
    """Nested keys are joined; a value whose own key folds to nothing has no column."""
    assert column_name(path) == expected


def test_long_names_are_cut_to_different_names() -> None:
    """Two long names that differ only at their ends stay two names, within the limit."""
    first, second = column_name(["a" * 300 + "b"]), column_name(["a" * 300 + "c"])
    assert len(first) == len(second) == NAME_CHARACTERS
    assert first != second


def test_event_slug_folds_the_event() -> None:
    """An event's slug is its folded name."""
    assert event_slug("Product Added") == "product_added"


@pytest.mark.parametrize(("source", "expected"), [("web-1", "web-1"), ("../x", "%2E%2E%2Fx"), ("", "%"), ("é", "%C3%A9")])
def test_folder_value_cannot_leave_its_folder(source: str, expected: str) -> None:
    """Bytes with a meaning in paths are escaped."""
    assert folder_value(source) == expected
