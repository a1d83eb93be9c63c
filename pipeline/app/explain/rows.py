"""Whether a lake holds the row of an event: its manifest names the files of the event's offset, and these are few."""

from __future__ import annotations

from pathlib import Path

from pipeline.lake.manifest import BrokenChain, DataFile
from pipeline.model.record import Record
from pipeline.runtime.lake.chain import MANIFEST, read_chain


def row_state(root: Path, routed: Record, message_id: str) -> str:
    """Look an event up in a lake.

    Args:
        root: The lake's folder.
        routed: The event as it lies in `routed`.
        message_id: Its message id.

    Returns:
        `stored`, `missing`, or why that cannot be said here.
    """
    if not (root / MANIFEST).is_dir():
        return f"there is no lake at {root} on this machine"
    try:
        files = list(_files(root, routed))
        return "stored" if _holds([root / file.path for file in files], message_id) else "missing"
    except (BrokenChain, ValueError, OSError) as error:
        return f"its manifest cannot be read: {error}"


def _files(root: Path, routed: Record) -> list[DataFile]:
    """List the files of the range of offsets that the event belongs to; a chain that the topic began afresh has a number behind its name."""
    name = f"{routed.topic}-{routed.partition}"
    chains = [folder for folder in (root / MANIFEST).iterdir() if folder.name == name or folder.name.startswith(f"{name}.")]
    records = [record for chain in chains for record in read_chain(chain)]
    return [file for record in records if record.start <= routed.offset < record.end for file in record.files]


def _holds(paths: list[Path], message_id: str) -> bool:
    import pyarrow.parquet as pq  # noqa: PLC0415 (30 MB that only a lake should cost)

    for path in paths:
        rows = pq.read_table(path, columns=["id"], filters=[("id", "==", message_id)])
        if rows.num_rows:
            return True
    return False
