"""Write keys are guessed (test T60): no answer, and no time to it, says how near a guess is, and who tries many is held up."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist, median

import pytest

from pipeline.app.cli.source_keys import KEY_BYTES
from pipeline.app.collector.limits import GUESSES_AT_ONCE
from tests.faults.attacked import Attacked, attacked, healthy
from tests.faults.collector_member import LONG_DISABLED, LONG_KEY
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import arrived

pytestmark = [pytest.mark.faults]

EACH = 10_000
"""Timed guesses of each kind."""
TRIES = 20_000
"""Guesses from one address."""
SEPARABLE = 0.001
"""A difference counts where chance alone makes one as large in one of a thousand looks, and two looks agree."""
LEAST_MICROSECONDS = 2.0
"""Smallest difference of the medians that counts: a microsecond on this machine's own loopback is lost in any network."""
NEAR = "all but the last letter"
KINDS = ("no key of anyone", NEAR, "capitals of a key", "disabled")
_LETTERS = "0123456789abcdef"
_DATE = re.compile(rb"\r\ndate: [^\r]*", re.IGNORECASE)


def _guesses(chance: random.Random) -> Mapping[str, str]:
    """Make a guess of each kind."""
    last = chance.choice([letter for letter in _LETTERS if letter != LONG_KEY[-1]])
    return dict(zip(KINDS, ("".join(chance.choices(_LETTERS, k=32)), LONG_KEY[:-1] + last, LONG_KEY.upper(), LONG_DISABLED), strict=True))


def _request(key: str) -> bytes:
    authorization = b64encode(f"{key}:".encode()).decode()
    return f"POST /v1/page HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {authorization}\r\ncontent-length: 2\r\n\r\n{{}}".encode()


def _ask(connection: socket.socket, request: bytes) -> tuple[float, bytes]:
    """Send a request and read its short answer, which comes in one piece; give the microseconds and the answer but for its date."""
    began = time.perf_counter_ns()
    connection.sendall(request)
    answer = connection.recv(1 << 16)
    took = (time.perf_counter_ns() - began) / 1000
    return took, _DATE.sub(b"", answer)


class Looks:
    """What an attacker has seen.

    Attributes:
        times: Microseconds of each guess, by kind.
        answers: The different answers to each kind.
    """

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.answers: dict[str, set[bytes]] = {kind: set() for kind in KINDS}


def _addresses(start: int) -> Iterator[str]:
    """Give addresses of this machine, one after the other."""
    for number in itertools.count(start):
        yield f"127.1.{number // 250}.{1 + number % 250}"


def _look(port: int, each: int, start: int) -> Looks:
    """Guess from so many addresses that none is held up, all kinds in turn and in an order that chance gives."""
    looks, chance = Looks(), random.Random(start)  # noqa: S311 (guesses, not keys)
    rounds = int(GUESSES_AT_ONCE) // len(KINDS)
    for _, address in zip(range(-(-each // rounds)), _addresses(start), strict=False):
        with socket.create_connection(("127.0.0.1", port), source_address=(address, 0)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(rounds):
                guesses = list(_guesses(chance).items())
                chance.shuffle(guesses)
                for kind, key in guesses:
                    took, answer = _ask(connection, _request(key))
                    looks.times[kind].append(took)
                    looks.answers[kind].add(answer)
    return looks


def separation(one: Sequence[float], other: Sequence[float]) -> float:
    """Say how far the ranks of two samples lie apart (Mann and Whitney's test), in standard deviations of chance."""
    ordered = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks, start = 0.0, 0
    for _, tied in itertools.groupby(ordered, key=lambda pair: pair[0]):
        group = list(tied)
        ranks += (start + (len(group) + 1) / 2) * sum(1 for _, which in group if which == 0)
        start += len(group)
    first, second = len(one), len(other)
    statistic = ranks - first * (first + 1) / 2
    return (statistic - first * second / 2) / math.sqrt(first * second * (first + second + 1) / 12)


def test_samples_are_told_apart_where_they_differ() -> None:
    """Equal samples lie 0 apart, also where values are tied; of 1,000 values each, a shift by a tenth of their spread is beyond chance."""
    assert separation([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 2.0, 3.0]) == 0
    values = [float(number) for number in range(1_000)]
    assert separation([value + 100 for value in values], values) > _most()


def _most() -> float:
    return NormalDist().inv_cdf(1 - SEPARABLE / 2)


def _gap(look: Looks, kind: str) -> float:
    """Give the microseconds between the medians of a kind and of the first one."""
    return abs(median(look.times[kind]) - median(look.times[KINDS[0]]))


async def _timed(port: int, each: int, row: Row | None) -> list[Verdict]:
    """Look twice, and hold the kinds to the first of them."""
    looks = [await asyncio.to_thread(_look, port, each, start) for start in (0, 10_000)]
    apart = {kind: [separation(look.times[kind], look.times[KINDS[0]]) for look in looks] for kind in KINDS[1:]}
    told = tuple(
        f"{kind}: {', '.join(f'{one:+.1f}' for one in both)} standard deviations"
        for kind, both in apart.items()
        if (min(both) > _most() or max(both) < -_most()) and all(_gap(look, kind) >= LEAST_MICROSECONDS for look in looks)
    )
    answers = set[bytes]().union(*(look.answers[kind] for look in looks for kind in KINDS))
    if row is not None:
        medians = {kind: median(looks[0].times[kind]) for kind in KINDS}
        row.figures = (
            f"2 x {each:,} of each of {len(KINDS)} kinds; medians {', '.join(f'{value:.0f}' for value in medians.values())} µs; apart by "
            + (", ".join(f"{both[0]:+.1f} and {both[1]:+.1f}" for both in apart.values()) + " standard deviations")
        )
    return [
        Verdict(
            "all guesses get the same answer", 2 * each * len(KINDS), tuple(answer.decode()[:200] for answer in answers) if len(answers) > 1 else ()
        ),
        Verdict("which is 401", len(answers), tuple(answer.decode()[:40] for answer in answers if not answer.startswith(b"HTTP/1.1 401 "))),
        Verdict("no kind of guess takes another time", len(apart), told),
    ]


@pytest.mark.fault("T60")
async def test_no_answer_says_how_near_a_guess_is(tmp_path: Path, row: Row) -> None:
    """A guess that is nearly right, and a disabled key, get the answer of any other, byte for byte, in the same time."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with attacked(tmp_path, broken) as target:
            return await _timed(target.port, EACH if not broken else EACH // 10, None if broken else row)

    await prove(row, scenario, ["compares_letters", "names_disabled"])


@pytest.mark.fault("T60")
async def test_who_guesses_much_is_held_up(tmp_path: Path, row: Row) -> None:
    """From one address a hundred guesses and five a second are answered with 401, all others with 429; who has a key is served from it as ever."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        async with attacked(tmp_path, broken) as target, healthy(target.port) as client:
            began, cpu = time.monotonic(), target.cpu_seconds()
            found = await asyncio.to_thread(_try_many, target, TRIES if not broken else TRIES // 10)
            seconds, cpu = time.monotonic() - began, target.cpu_seconds() - cpu
            while len(client.ids) < 10:  # noqa: ASYNC110 (a client in this process, which sends on)
                await asyncio.sleep(0.05)
        tries = sum(found.values())
        if not broken:
            row.figures = (
                f"{tries:,} guesses in {seconds:.0f} s: {found.get('401', 0)} judged; {cpu / tries * 1e6:.0f} µs of CPU each; {client.figures()}"
            )
        bits = 8 * KEY_BYTES
        return [
            Verdict("each guess is refused", tries, tuple(status for status in found if status not in ("401", "429"))),
            bounded({"judged": found.get("401", 0), "failed": len(client.failed)}, {"judged": GUESSES_AT_ONCE + 5 * seconds + 1, "failed": 0}),
            Verdict("a new key cannot be guessed", bits, () if bits >= 128 else (f"{bits} bits",)),
            arrived(client.ids, target.stored()["raw"]),
        ]

    await prove(row, scenario, ["unbounded_guesses"])


def _try_many(target: Attacked, tries: int) -> dict[str, int]:
    """Guess from one address, and count the answers by status."""
    found: dict[str, int] = {}
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        for _ in range(tries):
            status = _ask(connection, _request(secrets.token_hex(16)))[1][9:12].decode()
            found[status] = found.get(status, 0) + 1
    return found
