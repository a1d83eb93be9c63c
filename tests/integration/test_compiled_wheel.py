"""The wheel whose hot modules are compiled: built as `make compiled` does, unpacked, and run beside the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
HEADERS = Path(sysconfig.get_path("include"), "Python.h")
JUDGED = """
import hashlib, tempfile
from dataclasses import replace
from pathlib import Path
from benchmarks.hot_path import AT_MS, _Seen, _plan, shop_records
from pipeline.app.declared import read_topology, read_workspace
from pipeline.app.demo_workspace import demo_workspace
from pipeline.runtime import judgement

with tempfile.TemporaryDirectory() as home:
    workspace = replace(read_workspace(demo_workspace(Path(home))), version=1)
topology = read_topology("fused")
records = shop_records(400, topology.partitions)
odd = [b"", b"[]", b"{", b'{"type":"Track","userId":7}', b'{"type":"track","userId":"u","event":"e","timestamp":3}', b'{"type":"page","userId":null}']
foreign = [record._replace(value=value, headers=(("source", None), ("x", None))) for record, value in zip(records, odd * 9)]
astray = [record._replace(partition=record.partition + 1, headers=(*record.headers, ("x", None))) for record in records[:9]]
judged = judgement.Judged()
judgement.judge([*records, *records[:9], *foreign, *astray], _plan(topology, "prepare", workspace, _Seen()), judged, at_ms=AT_MS)
told = (judged.outputs, sorted(judged.tally.rows.items()), judged.tally.lanes, judged.crashes)
print(Path(judgement.__file__).suffix, len(judged.outputs), len(judged.crashes), hashlib.sha256(repr(told).encode()).hexdigest())
"""


@pytest.mark.integration
@pytest.mark.skipif(not shutil.which("cc") or not HEADERS.exists(), reason="needs a C compiler and the headers of Python")
def test_the_compiled_wheel_judges_as_the_sources_do(tmp_path: Path) -> None:
    """Of the same records, good, odd, foreign and astray, it makes the same outputs, rows and dead letters, byte for byte."""
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT))
    subprocess.run(command, env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1"}, check=True, timeout=300)
    (wheel,) = tmp_path.glob("headrace-*.whl")
    ZipFile(wheel).extractall(tmp_path / "compiled")

    compiled, sources = _judged(tmp_path / "compiled"), _judged(ROOT)

    assert (".so", ".py") == (compiled[0], sources[0])
    assert "0" == sources[2]
    assert sources[1:] == compiled[1:]
    assert not list(ROOT.glob("pipeline/**/*.so"))


def _judged(package: Path) -> list[str]:
    """Run the script above with a package; `-P` keeps the folder that it starts in from coming first."""
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-P", "-c", JUDGED], env=environment, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()
