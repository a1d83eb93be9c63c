"""Installs an SDK with its ecosystem's own client, exactly as its lock names it."""

from __future__ import annotations

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


class NotInstalled(Exception):
    """An SDK cannot be had on this machine. The message says what is missing, or what its registry's client said."""


def install(client: Client, folder: Path) -> list[str]:
    """Install an SDK.

    Args:
        client: The SDK.
        folder: A folder to make, for what is installed.

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
    shutil.copytree(FOLDER / client.folder, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
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
            return [str(folder / ".venv/bin/python"), str(folder / "send.py")]
        case "node":
            _npm(folder)
            return ["node", str(folder / "send.mjs")]
        case "go":
            _run(folder, "go", "build", "-mod=readonly", "-o", "send", ".")
            return [str(folder / "send")]
        case "java":
            jars = ensure_jars(parse_lock((folder / "jars.lock").read_text(encoding="utf-8")), jar_folder().with_name("sdk-jars"), lambda _: None)
            class_path = ":".join(map(str, [*jars, folder]))
            _run(folder, "javac", "-cp", class_path, "Send.java")
            return ["java", "-cp", class_path, "Send"]
        case "browser":
            _npm(folder)
            return [sys.executable, str(FOLDER / "browser.py"), str(folder / "node_modules" / client.sdk_file), str(folder / "send.js")]


def _npm(folder: Path) -> None:
    _run(folder, "npm", "ci", "--no-audit", "--no-fund", "--silent", "--ignore-scripts")


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"`{_shown(command)}` ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")


def _shown(command: Sequence[str]) -> str:
    return " ".join(command)
