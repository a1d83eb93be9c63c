"""How many connections a collector takes."""

import pytest

from pipeline.app.collector.listener import connections_of


@pytest.mark.parametrize(("files", "connections"), [(1, 1), (256, 128), (1_024, 768), (20_000, 12_000)])
def test_connections_leave_files_for_the_rest(files: int, connections: int) -> None:
    """A limit of open files leaves 256 for what is no connection; half of it where it is too low for that."""
    assert connections == connections_of(files)
