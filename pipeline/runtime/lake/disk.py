"""What the lake does to a file system, one step at a time, so that a test can stop it after any of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


class Disk:
    """Durable writes on a local file system."""

    def temporary(self, parent: Path, prefix: str) -> Path:
        """Make a folder of a name that nothing else has."""
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent, prefix=prefix))

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file."""
        path.write_bytes(data)

    def sync(self, path: Path) -> None:
        """Wait until a file, or the names in a folder, would survive a power cut."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_folder(self, path: Path) -> None:
        """Make a folder and its parents, and wait until their names would survive a power cut."""
        missing = []
        folder = path
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        path.mkdir(parents=True, exist_ok=True)
        for made in missing:
            self.sync(made.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in one step."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a further name, in one step.

        Raises:
            FileExistsError: The name is taken; whoever took it has won.
        """
        os.link(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Remove a folder and all in it; one that is gone already is no error."""
        shutil.rmtree(path, ignore_errors=True)
