"""The table of all SDKs, for benchmarks/results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.sdks.clients import Client
from tests.sdks.reconcile import Result


class Row(NamedTuple):
    """A run of an SDK.

    Attributes:
        client: The SDK.
        mode: Its way of sending.
        result: What came out.
        seconds: How long its program took, its start included.
    """

    client: Client
    mode: str
    result: Result
    seconds: float


class Report(NamedTuple):
    """All runs.

    Attributes:
        in_peace: While nothing is disturbed.
        under_kill: At once, while the collector was killed.
    """

    in_peace: Sequence[Row]
    under_kill: Sequence[Row]


def markdown(made: Report, clients: Sequence[Client]) -> str:
    """Write the report.

    Args:
        made: All runs.
        clients: The SDKs that were asked for.

    Returns:
        Markdown.
    """
    had = {row.client.package for row in made.in_peace}
    lines = [
        "# SDKs",
        "",
        "Each SDK is the published one, unmodified, and was told nothing but the address. Stored: message ids in the lake; equal: with the",
        "values that were given; twice: ids that the lake has more than once.",
        "",
        "## In peace",
        "",
        *_table(made.in_peace),
        "",
        "## All at once, while the collector is killed with `kill -9` and comes back",
        "",
        *_table(made.under_kill),
        "",
        "## When an SDK gives up",
        "",
        *(f"- {client.package}: {client.gives_up}" for client in clients),
    ]
    if absent := [client.package for client in clients if client.package not in had]:
        lines += ["", "## Not installed here", "", *(f"- {package}" for package in absent)]
    return "\n".join([*lines, ""])


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield "| SDK | version | mode | sent | stored | equal | twice | given up by the SDK | lost | seconds |"
    yield "|---|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for client, mode, result, seconds in rows:
        counts = (result.sent, result.stored, result.equal, len(result.doubled), len(result.gave_up), len(result.missing))
        yield f"| {client.package} | {client.version} | {mode or 'default'} | {' | '.join(map(str, counts))} | {seconds:.1f} |"
