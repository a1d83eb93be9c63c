"""How the library is made: once, whole, and with words for what goes wrong. npm is a script here."""

import asyncio
from pathlib import Path

import pytest

from pipeline.app.browser import AnalyticsLibrary, LibraryError
from pipeline.app.browser import library as module
from pipeline.app.browser.library import at_home, library_version
from pipeline.runtime.clock import SystemClock

_MAKES = """#!/bin/sh
echo once >> "{log}"
mkdir -p node_modules/@segment/analytics-next/dist/umd
cp "{standalone}" node_modules/@segment/analytics-next/dist/umd/standalone.js
"""


def npm(folder: Path, text: str, standalone: bytes = b"https://cdn.segment.com api.segment.io/v1 __WRITE_KEY__") -> str:
    """Write a script that stands for npm."""
    (folder / "standalone.js").write_bytes(standalone)
    path = folder / "npm"
    path.write_text(text.format(log=folder / "log", standalone=folder / "standalone.js"), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def names(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_it_is_made_once(tmp_path: Path) -> None:
    """Many pages that ask at once, and a process that starts later, fetch it one time; nothing is left beside it."""
    command = npm(tmp_path, _MAKES)
    made = AnalyticsLibrary(tmp_path / "home", SystemClock(), command)
    answers = await asyncio.gather(*(made.files() for _ in range(5)))
    later = await AnalyticsLibrary(tmp_path / "home", SystemClock(), "no-such-npm").files()
    assert [later] * 5 == answers
    assert "once\n" == (tmp_path / "log").read_text(encoding="utf-8")
    assert [library_version()] == names(tmp_path / "home" / "analytics.js")


async def test_a_failure_is_remembered_for_a_while(tmp_path: Path) -> None:
    """Npm's last words are told, and the next page does not start it again."""
    made = AnalyticsLibrary(tmp_path / "home", SystemClock(), npm(tmp_path, '#!/bin/sh\necho once >> "{log}"\necho EINTEGRITY >&2\nexit 1\n'))
    for _ in range(3):
        with pytest.raises(LibraryError, match=r"status 1.*EINTEGRITY"):
            await made.files()
    assert "once\n" == (tmp_path / "log").read_text(encoding="utf-8")
    assert [] == names(tmp_path / "home" / "analytics.js")


async def test_npm_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it has started."""
    monkeypatch.setattr(module, "_BUILD_SECONDS", 0.2)
    with pytest.raises(LibraryError, match="longer than"):
        await AnalyticsLibrary(tmp_path / "home", SystemClock(), npm(tmp_path, "#!/bin/sh\nsleep 60\n")).files()


async def test_a_version_that_would_turn_elsewhere_is_refused(tmp_path: Path) -> None:
    """A file without the places that ours are put into is not served."""
    made = AnalyticsLibrary(tmp_path / "home", SystemClock(), npm(tmp_path, _MAKES, b"https://cdn.segment.com __WRITE_KEY__"))
    with pytest.raises(LibraryError, match=r"does not name api\.segment\.io"):
        await made.files()


def test_a_key_cannot_end_its_string() -> None:
    """Whatever quotes the library uses around it."""
    script = at_home(b"'__WRITE_KEY__'", """a'b"c\\""", "https", "cdp.example.com")
    assert rb"'a\x27b\"c\\'" == script
