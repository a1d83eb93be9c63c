"""Compiles the hot modules of a wheel to C with mypyc; only where the wheel is asked for so (docs/guide/compiled.md)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SETUP = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="compiled", packages=[], py_modules=[], ext_modules=mypycify({arguments!r}, opt_level="3"))
"""


class CompiledModules(BuildHookInterface):  # type: ignore[type-arg]  # of any builder
    """Adds to a wheel, beside the sources of some modules, what they compile to."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile a copy of the sources, so that no compiled file ever lies beside one that is edited."""
        if version == "editable":
            raise ValueError("what is edited is not compiled: build a wheel")
        self._folder = Path(mkdtemp(prefix="headrace-compiled-"))
        root = Path(self.root)
        shutil.copytree(root / "pipeline", self._folder / "pipeline", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        arguments = [f"--config-file={root / 'pyproject.toml'}", *self.config["modules"]]
        (self._folder / "setup.py").write_text(_SETUP.format(arguments=arguments), encoding="utf-8")
        command = (sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", "built")
        subprocess.run(command, cwd=self._folder, check=True)  # noqa: S603 (our own words)
        built = self._folder / "built"
        build_data["force_include"].update({str(path): str(path.relative_to(built)) for path in built.rglob("*.so")})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, *_: object) -> None:
        """Take the copy away."""
        shutil.rmtree(self._folder)
