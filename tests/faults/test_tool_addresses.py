"""Tools that lead inside: by address in every notation, by name, by a name that changes, by redirect (test T32)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import Kafka
from tests.faults import hostile_tool as hostile
from tests.faults.delivery_trial import DeliveryTrial, numbered
from tests.faults.hostile_tool import HostileTool
from tests.faults.laws import Verdict
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived

pytestmark = [pytest.mark.faults, pytest.mark.integration]

OUTSIDE = "127.0.0.2"
"""Stands for the public internet: the only address that may be reached."""
HOSTS = {
    "loopback": "127.0.0.1",
    "short": "127.1",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "hex": "0x7f.0.0.1",
    "any": "0.0.0.0",  # noqa: S104 (nothing listens there: it is asked for)
    "v6": "[::1]",
    "mapped": "[::ffff:127.0.0.1]",
    "mappedhex": "[::ffff:7f00:1]",
    "name": "localhost",
    "inside": "inside.test",
}
FAR = {"metadata": "169.254.169.254", "private": "10.0.0.1", "local": "[fd00::1]"}
"""Not asked for in the trials of broken builds, which would go there."""
SCHEMES = {"file": "file:///etc/passwd", "gopher": "gopher://127.0.0.1:{port}/"}


@pytest.mark.fault("T32")
async def test_nothing_goes_inside(kafka: Kafka, prefix: str, row: Row) -> None:
    """Not one connection is made to an address inside, however it is written, named or changed; no redirect is followed; nothing is lost."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with HostileTool(OUTSIDE) as tool, HostileTool("127.0.0.1", tool.port) as inside, HostileTool("::1", tool.port) as inside6:
            hosts = HOSTS if broken else HOSTS | FAR
            urls = {name: f"http://{host}:{tool.port}/" for name, host in hosts.items()}
            urls |= {name: url.format(port=tool.port) for name, url in SCHEMES.items()}
            tool.behave["/moved"] = hostile.with_status(302, f"location: {tool.url('/elsewhere')}\r\n")
            changes = {"url": f"http://changes.test:{tool.port}/changes"}
            declared: dict[str, dict[str, Any]] = {
                **{name: {"url": url, "deadline": 2.0} for name, url in urls.items()},
                "moved": {},
                "changes": changes,
            }
            names = {"inside.test": ["127.0.0.1"], "changes.test": [OUTSIDE, "127.0.0.1"]}
            trial = DeliveryTrial(kafka, prefix, tool, declared, broken=broken, public=[OUTSIDE], names=names)
            await trial.prepare()
            sent = await trial.send([one for name in declared for one in numbered(name, 2)])
            first = {f"{name}-0" for name in declared}
            async with trial.member():
                await trial.until_written(lambda: trial.have_attempted(first))
            attempts = await trial.attempts()
            went_in = inside.connections + inside6.connections
        errors = {one["destination"]: one["error"] for one in attempts if one["destination"] in urls}
        wanted = {**dict.fromkeys(hosts, "address_blocked"), **dict.fromkeys(SCHEMES, "invalid_request")}
        dead = {headers["destination"] for headers in await trial.dead()}
        if not broken:
            row.figures = f"{len(declared)} ways inside, {went_in} connections made there"
        return [
            arrived(sorted(first), {one["message_id"] for one in attempts}),
            alike("connections to addresses inside", 0, went_in),
            alike("requests where a redirect leads", 0, sum(one.path == "/elsewhere" for one in tool.seen)),
            alike("what the attempts say", wanted, errors),
            alike("dead letters, of the redirect alone", {b"moved"}, dead),
            alike("requests sent of all", 2 * len(declared), len(sent)),
        ]

    await prove(row, scenario, ("no_address_check", "resolved_twice", "redirects_followed"))
