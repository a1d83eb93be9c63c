"""What `headrace up` refuses before it starts anything."""

from pathlib import Path

import pytest

from pipeline.app.cli.errors import CommandError
from pipeline.app.up import refuse_unwritable_lakes
from pipeline.model.workspace import Storage, Workspace


def a_workspace(path: Path) -> Workspace:
    """Declare one lake."""
    return Workspace("shop", storage={"lake": Storage("lake", "parquet", settings={"path": str(path)})})


def test_a_lake_gets_its_folder(tmp_path: Path) -> None:
    """The folder of a lake is made, and nothing is left in it."""
    refuse_unwritable_lakes(a_workspace(tmp_path / "a" / "lake"), str)
    assert [] == list((tmp_path / "a" / "lake").iterdir())


def test_a_lake_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A path that leads through a file is refused with the lake's id, its folder and a remedy."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CommandError, match="the lake lake cannot be written") as refused:
        refuse_unwritable_lakes(a_workspace(tmp_path / "file" / "lake"), str)
    assert "path" in refused.value.remedy
