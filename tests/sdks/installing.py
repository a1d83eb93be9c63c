"""Installs an SDK with its ecosystem's own client, exactly as its lock names it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.app.local.jars import ensure_jars, jar_folder, parse_lock
from tests.sdks.browser import chromium
from tests.sdks.clients import FOLDER, Client

_TOOLS: Final = {"python": (), "node": ("node", "npm"), "go": ("go",), "java": ("java", "javac"), "browser": ("npm",)}

_DONE: Final = ".installed"


class NotInstalled(Exception):
    """An SDK cannot be had on this machine. The message says what is missing, or what its registry's client said."""


def install(client: Client, folder: Path) -> list[str]:
    """Install an SDK, where it is not already.

    Args:
        client: The SDK.
        folder: A folder for what is installed; it is made, or made anew where the program or its lock changed.

    Returns:
        The command that makes calls with it; `HOST WRITE_KEY CALLS PAUSE_MS [MODE]` follow.

    Raises:
        NotInstalled: It cannot be had here.
    """
    missing = [tool for tool in _TOOLS[client.kind] if not shutil.which(tool)]
    if client.kind == "browser" and not chromium():
        missing.append("chromium")
    if missing:
        raise NotInstalled(f"needs {' and '.join(missing)}")
    state = _state(client)
    if not (folder / _DONE).exists() or (folder / _DONE).read_text(encoding="utf-8") != state:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(FOLDER / client.folder, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        _fetch(client, folder)
        (folder / _DONE).write_text(state, encoding="utf-8")
    match client.kind:
        case "python":
            return [str(folder / ".venv/bin/python"), str(folder / "send.py")]
        case "node":
            return ["node", str(folder / "send.mjs")]
        case "go":
            return [str(folder / "send")]
        case "java":
            return ["java", "-cp", _class_path(folder), "Send"]
        case "browser":
            return [sys.executable, str(FOLDER / "browser.py"), str(folder / "node_modules" / client.sdk_file), str(folder / "send.js")]


def _state(client: Client) -> str:
    files = sorted(path for path in (FOLDER / client.folder).iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _fetch(client: Client, folder: Path) -> None:
    match client.kind:
        case "python":
            _run(folder, sys.executable, "-m", "venv", ".venv")
            _run(
                folder,
                ".venv/bin/pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
                "-r",
                "requirements.txt",
            )
        case "go":
            _run(folder, "go", "build", "-mod=readonly", "-o", "send", ".")
        case "java":
            _run(folder, "javac", "-cp", _class_path(folder), "Send.java")
        case "node" | "browser":
            _run(folder, "npm", "ci", "--no-audit", "--no-fund", "--silent", "--ignore-scripts")


def _class_path(folder: Path) -> str:
    jars = ensure_jars(parse_lock((folder / "jars.lock").read_text(encoding="utf-8")), jar_folder().with_name("sdk-jars"), lambda _: None)
    return ":".join(map(str, [*jars, folder]))


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"`{_shown(command)}` ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")


def _shown(command: Sequence[str]) -> str:
    return " ".join(command)
