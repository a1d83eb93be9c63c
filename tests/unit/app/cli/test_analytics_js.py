"""`headrace analytics-js`: what is there is kept, and without npm it says what to do."""

from pathlib import Path

import pytest

from pipeline.app.browser.library import library_version
from tests.unit.app.cli.commands import Shell


def test_without_npm(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the remedy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    done = shell.run("analytics-js")
    assert 1 == done.status
    assert "npm is not here" in done.err
    assert "install Node.js" in done.err


def test_what_is_there_is_kept(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No npm is asked a second time."""
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / ".headrace" / "analytics.js" / library_version()
    folder.mkdir(parents=True)
    (folder / "standalone.js").write_bytes(b"//")
    assert {"version": library_version(), "folder": str(folder), "files": 1, "made": False} == shell.run("analytics-js", "--json").json
