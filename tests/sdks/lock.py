"""Writes the locks of the SDKs that run on the JVM anew, and takes addresses out of npm's: `make lock-sdks`."""

from __future__ import annotations

import orjson

from pipeline.app.local.jars import make_lock
from tests.sdks.clients import CLIENTS, FOLDER


def main() -> None:
    """Resolve each JVM SDK at the version that its lock names, with all that it needs; leave of npm's locks what pins."""
    for client in CLIENTS:
        if client.kind == "java":
            lock = FOLDER / client.folder / "jars.lock"
            lock.write_text(make_lock([f"{client.package}:{client.version}"]).replace("make lock", "make lock-sdks"), encoding="utf-8")
    for path in FOLDER.glob("*/package-lock.json"):
        found = orjson.loads(path.read_bytes())
        for package in found["packages"].values():
            package.pop("funding", None)  # an address, and no pin
        path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
