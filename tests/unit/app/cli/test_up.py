"""What a start tells a newcomer to paste."""

from pipeline.app.cli.up import first_steps


def test_the_demo_is_offered_where_its_key_is_known() -> None:
    """In a workspace of one's own the demo's write key is refused; `send` finds the key by itself."""
    assert "headrace demo" in dict(first_steps("http://127.0.0.1:7070", "demo"))["See it"]
    own = dict(first_steps("http://127.0.0.1:7070", "YOUR_WRITE_KEY"))["See it"]
    assert "headrace demo" not in own
    assert "headrace send track" in own


def test_each_command_is_written_as_the_shell_finds_it() -> None:
    """After `make run` nothing named headrace is on the path, so it is said where it lies."""
    lines = dict(first_steps("http://127.0.0.1:7070", "demo", ".venv/bin/headrace"))["See it"].splitlines()
    assert [".venv/bin/headrace demo", ".venv/bin/headrace status"] == lines[:2]
    assert lines[2].startswith(".venv/bin/headrace query ")
