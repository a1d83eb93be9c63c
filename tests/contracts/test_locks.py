"""Lock files pin versions and sums, and name no address: whoever installs says where from."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
NPM = [*(ROOT / "pipeline").rglob("package-lock.json"), *(ROOT / "tests" / "sdks").glob("*/package-lock.json")]
LOCKS = [
    *NPM,
    *(ROOT / "requirements").glob("*.txt"),
    *(ROOT / "pipeline").rglob("*.lock"),
    *(ROOT / "tests" / "sdks").glob("*/jars.lock"),
    *(ROOT / "tests" / "sdks").glob("*/requirements.txt"),
    *(ROOT / "tests" / "sdks").glob("*/go.sum"),
]


def name_of(path: Path) -> str:
    """Give the path from the root."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", LOCKS, ids=name_of)
def test_a_lock_names_no_address(path: Path) -> None:
    """No line of any kind of lock has one."""
    assert [] == [line for line in path.read_text(encoding="utf-8").splitlines() if "://" in line]


@pytest.mark.parametrize("path", NPM, ids=name_of)
def test_a_lock_of_npm_has_a_sum_for_each_package(path: Path) -> None:
    """Else npm would take whatever it is given."""
    packages = {name: package for name, package in orjson.loads(path.read_bytes())["packages"].items() if name}
    assert [] == [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")]
