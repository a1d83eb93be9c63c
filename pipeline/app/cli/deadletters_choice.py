"""What the commands of `headrace dead` share: which letters are meant, and what they are judged with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pipeline.app.cli.cluster import read_config_history
from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.times import TIME_FORMS, time_ms
from pipeline.assembly import map_anew, translate_anew
from pipeline.dead_letters import Choice, parse_place
from pipeline.declaration import did_you_mean
from pipeline.model.reasons import REASONS
from pipeline.model.topics import DEAD_STAGES
from pipeline.model.topology import Topology
from pipeline.ports.broker import Broker
from pipeline.runtime.redrive import InForce

ProcessorOption = Annotated[
    str,
    typer.Option(
        "--processor",
        "-p",
        metavar="NAME",
        help=f"Only those of this processor: {', '.join(DEAD_STAGES)}; or of one destination's, as translate.crm.",
        show_default=False,
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="REASON", help="Only those with this reason.", show_default=False)]
DestinationOption = Annotated[
    str, typer.Option("--destination", "-d", metavar="ID", help="Only those of this destination or storage.", show_default=False)
]
SourceOption = Annotated[str, typer.Option("--source", metavar="ID", help="Only those of this source.", show_default=False)]
FromOption = Annotated[str, typer.Option("--from", metavar="TIME", help=f"Only those that died from then on: {TIME_FORMS}.", show_default=False)]
ToOption = Annotated[str, typer.Option("--to", metavar="TIME", help="Only those that died before then.", show_default=False)]


def choice_of(
    processor: str = "", reason: str = "", destination: str = "", source: str = "", begin: str = "", end: str = "", *, places: Sequence[str] = ()
) -> Choice:
    """Put the options together.

    Args:
        processor: A stage, or a stage and a destination as `translate.crm`.
        reason: Name of a reason.
        destination: Id of a destination or storage.
        source: Id of a source.
        begin: Time from which on.
        end: Time before which.
        places: Places of letters.

    Returns:
        Which letters are meant.

    Raises:
        CommandError: One of them cannot be.
    """
    stage, _, ident = processor.partition(".")
    if stage and stage not in DEAD_STAGES:
        raise CommandError(f"there is no processor {stage} with dead letters", did_you_mean(stage, DEAD_STAGES), status=2)
    if ident and destination not in ("", ident):
        raise CommandError(f"--processor {processor} and --destination {destination} contradict each other", "give one of them", status=2)
    if reason and reason != "unknown" and reason not in REASONS:
        raise CommandError(f"there is no reason {reason}", did_you_mean(reason, list(REASONS)) or "see docs/reference/reasons.md", status=2)
    for place in places:
        found = parse_place(place)
        if found is None or found[0] not in DEAD_STAGES:
            raise CommandError(f"{place} is no place of a dead letter", "write it as `headrace dead list` shows it: dead.validate/0/12", status=2)
    return Choice(stage, reason, ident or destination, source, time_ms("--from", begin), time_ms("--to", end), frozenset(places))


async def read_in_force(broker: Broker, prefix: str, topology: Topology) -> InForce | None:
    """Read from the topic `config` what letters are judged with.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        topology: The topology that is run.

    Returns:
        It, or None where no configuration is in force yet.
    """
    fold, history = await read_config_history(broker, prefix)
    if fold.workspace is None:
        return None
    return InForce(topology, fold.workspace, history.since, translate_anew(fold.workspace), map_anew(fold.workspace))
