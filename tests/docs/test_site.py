"""The site that `make docs` builds."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

_REQUESTED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="?(?P<address>[^"\s>]+)|url\((?P<style>https?:[^)]+)\)""")


def test_the_site_builds_strictly_and_asks_nobody_else(tmp_path: Path) -> None:
    """No warning; and a reader's browser gets every script, style, font and image from the site itself."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    foreign = {
        found["address"] or found["style"]
        for page in pages
        for found in _REQUESTED.finditer(page.read_text(encoding="utf-8"))
        if re.match(r"(https?:)?//", found["address"] or found["style"])
    }
    assert foreign == set()
