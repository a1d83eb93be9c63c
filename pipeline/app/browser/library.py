"""The library that websites load, analytics.js, made once from its npm package and kept in the home.

The package is `@segment/analytics-next` at the version of `package-lock.json` beside this file; npm checks what it fetches against the sums there.
Of it only the folder for browsers is kept, under `analytics.js/<version>` in the home. Nothing of it is in our repository or wheel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from pipeline.app.settings import make_home
from pipeline.ports.clock import Clock

_HERE: Final = Path(__file__).parent
_PACKAGE: Final = "node_modules/@segment/analytics-next"
_BUILD_SECONDS: Final = 180.0
_AGAIN_SECONDS: Final = 30.0
"""How long after a failure npm is asked again: every page of a website asks for the library."""
_WORDS_BYTES: Final = 300
STANDALONE: Final = "standalone.js"
"""The file that a page loads first."""
WRITE_KEY: Final = b"__WRITE_KEY__"
_OWN_HOSTS: Final = ((b"https://cdn.segment.com", "{address}"), (b"api.segment.io/v1", "{host}/v1"))
"""Where the library turns to when nobody has told it another host, and what stands there once we serve it."""


class LibraryError(Exception):
    """The library cannot be made; the message says why and what to do."""


def library_version() -> str:
    """Read the version of the library from the lock."""
    lock = orjson.loads((_HERE / "package-lock.json").read_bytes())
    return str(lock["packages"][_PACKAGE]["version"])


def at_home(script: bytes, write_key: str, scheme: str, host: str) -> bytes:
    """Make the library's first file one of ours: it knows its write key, and all hosts that it turns to by itself are the collector.

    Without this it would ask its maker's servers for settings where a page names none, and report a failed start there.

    Args:
        script: The file as it came; it has passed `check_library`.
        write_key: A write key that the collector knows.
        scheme: `http` or `https`.
        host: The collector's host.

    Returns:
        The file to serve.
    """
    script = script.replace(WRITE_KEY, orjson.dumps(write_key)[1:-1].replace(b"'", rb"\x27"))
    for theirs, ours in _OWN_HOSTS:
        script = script.replace(theirs, ours.format(address=f"{scheme}://{host}", host=host).encode())
    return script


def check_library(script: bytes) -> None:
    """Make sure that the library's first file has what `at_home` puts ours in place of, so that a new version cannot go elsewhere unseen.

    Args:
        script: The file as it came.

    Raises:
        LibraryError: It has not.
    """
    missing = [text.decode() for text in (WRITE_KEY, *(theirs for theirs, _ in _OWN_HOSTS)) if text not in script]
    if missing:
        raise LibraryError(f"{STANDALONE} of this version does not name {', '.join(missing)}: go back to the version before, and tell us")


class AnalyticsLibrary:
    """The library's files, made when they are first asked for.

    Args:
        home: Home of the run.
        clock: Clock.
        npm: The command that fetches packages.
    """

    def __init__(self, home: Path, clock: Clock, npm: str = "npm") -> None:
        self._folder = home.absolute() / "analytics.js" / library_version()
        self._clock = clock
        self._npm = npm
        self._lock = asyncio.Lock()
        self._files: Mapping[str, bytes] = {}
        self._failure: LibraryError | None = None
        self._again = 0.0

    @property
    def folder(self) -> Path:
        """Where the files lie, or will."""
        return self._folder

    async def files(self) -> Mapping[str, bytes]:
        """Give the files, and make them first where they are missing; many may ask at once.

        Returns:
            Contents by name.

        Raises:
            LibraryError: npm is missing or fails; nothing is tried again for half a minute.
        """
        if self._files:
            return self._files
        async with self._lock:
            if not self._files:
                if self._failure is not None and self._clock.monotonic() < self._again:
                    raise self._failure
                try:
                    await self._make()
                    self._files = await asyncio.to_thread(_read, self._folder)
                except LibraryError as error:
                    self._failure, self._again = error, self._clock.monotonic() + _AGAIN_SECONDS
                    raise
        return self._files

    async def _make(self) -> None:
        if (self._folder / STANDALONE).is_file():
            return
        try:
            make_home(self._folder.parent.parent)
            self._folder.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder.parent, prefix=".making-") as scratch:
                for name in ("package.json", "package-lock.json"):
                    shutil.copyfile(_HERE / name, Path(scratch) / name)
                await self._fetch(Path(scratch))
                check_library((Path(scratch) / _PACKAGE / "dist" / "umd" / STANDALONE).read_bytes())
                with contextlib.suppress(FileExistsError):  # another process was faster; its files are the same
                    (Path(scratch) / _PACKAGE / "dist" / "umd").rename(self._folder)
        except OSError as error:
            if (self._folder / STANDALONE).is_file():
                return
            raise LibraryError(
                f"analytics.js cannot be kept in {self._folder}: {error.strerror or error}; make room there, or let us write"
            ) from error

    async def _fetch(self, scratch: Path) -> None:
        """Let npm install what the lock names; it runs none of the packages' scripts and ends with all that it has started."""
        command = (self._npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error")
        try:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=scratch, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True
            )
        except FileNotFoundError:
            raise LibraryError(
                "analytics.js is made from its npm package, and npm is not here: install Node.js 18 or newer (on Debian and Ubuntu: "
                f"sudo apt-get install npm), or run `headrace analytics-js` on a machine that has it and copy {self._folder} here"
            ) from None
        try:
            async with asyncio.timeout(_BUILD_SECONDS):
                _, words = await process.communicate()
        except TimeoutError:
            raise LibraryError(f"npm took longer than {_BUILD_SECONDS:g} s to fetch analytics.js: check that it reaches its registry") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            said = words[-_WORDS_BYTES:].decode("utf-8", "replace").strip()
            raise LibraryError(f"npm could not fetch analytics.js (status {process.returncode}); check that it reaches its registry. It said: {said}")


def _read(folder: Path) -> Mapping[str, bytes]:
    try:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    except OSError as error:
        raise LibraryError(f"{folder} cannot be read: {error.strerror}; remove it, and it is made anew") from error
