"""Writes the locks of the SDKs that run on the JVM anew: `make lock-sdks`."""

from __future__ import annotations

from pipeline.app.local.jars import make_lock
from tests.sdks.clients import CLIENTS, FOLDER


def main() -> None:
    """Resolve each SDK at the version that its lock names, with all that it needs."""
    for client in CLIENTS:
        if client.kind == "java":
            lock = FOLDER / client.folder / "jars.lock"
            lock.write_text(make_lock([f"{client.package}:{client.version}"]).replace("make lock", "make lock-sdks"), encoding="utf-8")


if __name__ == "__main__":
    main()
