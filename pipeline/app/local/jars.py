"""The broker's jars: fetched by Maven coordinate once per user, and used only if they are the ones in the lock.

`kafka-jars.lock` beside this file has one line for each jar: `group:artifact:version sha256`. The walk over Maven's
dependency graph is done when the lock is made (`make lock`), so that a start asks for known files only.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jgo
import platformdirs
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("kafka-jars.lock")
_DOWNLOADS_AT_ONCE = 8


class JarError(Exception):
    """A jar cannot be had, or is not the one that the lock names. The message names the jar and what to do."""


class Jar(NamedTuple):
    """One line of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file, as Maven builds it."""
        return f"{self.artifact}-{self.version}.jar"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """Read a lock.

    Args:
        text: Lines of `group:artifact:version sha256`; empty lines and lines that begin with `#` are skipped.

    Returns:
        The jars in the order of the file, which is the order of the class path.

    Raises:
        JarError: A line has another form.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        coordinate, _, digest = line.partition(" ")
        group, _, rest = coordinate.partition(":")
        artifact, _, version = rest.partition(":")
        if not version or ":" in version or len(digest) != 64:
            raise JarError(f"jar lock, line {number}: expected 'group:artifact:version sha256', found {line!r}")
        jars.append(Jar(group, artifact, version, digest))
    return tuple(jars)


def sha256(path: Path) -> str:
    """Sum of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_jar(jar: Jar, path: Path) -> None:
    """Make sure that a file is the jar that the lock names.

    Raises:
        JarError: The sums differ.
    """
    found = sha256(path)
    if found != jar.sha256:
        message = (
            f"{jar.file_name} is not the file that kafka-jars.lock names: SHA-256 is {found}, expected {jar.sha256}. "
            f"Remove {path} and start again; if it comes back, the Maven repository serves another file."
        )
        raise JarError(message)


def jar_folder() -> Path:
    """Where this user's jars lie: one folder for all homes, so that a second one downloads nothing."""
    return Path(platformdirs.user_cache_path("headrace")) / "jars"


def ensure_jars(jars: Sequence[Jar], folder: Path, progress: Callable[[str], None]) -> tuple[Path, ...]:
    """Fetch what is missing and check every jar's sum. Blocks; several processes may do it at once.

    Args:
        jars: What is needed, as `parse_lock` gives it.
        folder: Where the jars lie; it is made if it is missing.
        progress: Called with a line for a person, from several threads.

    Returns:
        The files, in the order of `jars`.

    Raises:
        JarError: A jar cannot be had, or has another sum.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / jar.file_name for jar in jars)
    missing = [(jar, path) for jar, path in zip(jars, paths, strict=True) if not path.exists()]
    if missing:
        progress(f"fetching {len(missing)} jars of Apache Kafka (45 MB, once)")
        _fetch_all(missing, folder, progress)
    for jar, path in zip(jars, paths, strict=True):
        check_jar(jar, path)
    return paths


def _fetch_all(missing: Sequence[tuple[Jar, Path]], folder: Path, progress: Callable[[str], None]) -> None:
    settings = GlobalSettings.load()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        maven = MavenContext(
            # jgo writes in place, so a kill could leave half a jar: it downloads here, and only whole jars are moved out.
            repo_cache=Path(scratch),
            local_repos=[settings.repo_cache],
            remote_repos=settings.repositories or {"central": MAVEN_CENTRAL_URL},
            timeout=60,
        )
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            fetches = [pool.submit(_fetch, maven, jar, path) for jar, path in missing]
            for done, fetch in enumerate(fetches, start=1):
                fetch.result()
                if done % 10 == 0 or done == len(missing):
                    progress(f"fetched {done} of {len(missing)} jars")


def _fetch(maven: MavenContext, jar: Jar, path: Path) -> None:
    try:
        found: Path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError for "not found"
        message = f"cannot fetch {jar.file_name}: {error}"
        raise JarError(message) from error
    check_jar(jar, found)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.copyfile(found, part)
    part.replace(path)


def make_lock(coordinates: Iterable[str]) -> str:
    """Resolve coordinates with all that they need, and write the lock. Downloads into jgo's own Maven cache.

    Args:
        coordinates: Maven coordinates, `group:artifact:version`. Where two bring the same artifact, the first one's version stays.

    Returns:
        Text for `kafka-jars.lock`.
    """
    lines: dict[tuple[str, str], str] = {}
    for coordinate in coordinates:
        for found in jgo.resolve(coordinate):
            key = (found.groupId, found.artifactId)
            if key not in lines:
                lines[key] = f"{found.groupId}:{found.artifactId}:{found.version} {sha256(found.resolve())}"
    return "\n".join(["# Made by `make lock`. One jar a line: group:artifact:version sha256.", *sorted(lines.values()), ""])


if __name__ == "__main__":
    LOCK.write_text(make_lock(sys.argv[1:]), encoding="utf-8")
