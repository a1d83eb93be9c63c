"""`headrace demo`."""

from tests.unit.app.cli.commands import Shell


def test_it_refuses_to_kill_where_nothing_runs(shell: Shell) -> None:
    """No run in this home: exit 1, with the remedy."""
    done = shell.run("demo", "--kill", "--seconds", "1")
    assert done.status == 1
    assert "headrace up" in done.err
