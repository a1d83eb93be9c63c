"""The stream itself: who sends next, when, and what goes wrong with it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from pipeline.demo.catalogue import PLACES, PRODUCTS
from pipeline.demo.devices import bot_context, browser_context
from pipeline.demo.orders import product_properties
from pipeline.demo.shop import Call, Client, Shop
from pipeline.demo.spoiled import SPOILERS
from pipeline.demo.visits import next_visit

Kind = Literal["normal", "duplicate", "late", "bad", "bot"]

#: Parts of the stream that are not normal.
DUPLICATES = 0.02
LATE = 0.01
BAD = 0.01
BOTS = 0.02

#: Seconds between two calls of one visit, on average; short, so that a demo soon shows an order.
PACE_S = 3
MOST_VISITS = 500
#: A duplicate is sent at most this many calls after the first.
DUPLICATE_WITHIN = 60
HOUR_MS = 3_600_000
#: How long a call waits in its SDK before it is sent.
QUEUED_MS = 40


class DemoCall(NamedTuple):
    """One call of the demo, and when it leaves its client.

    `body` is one item for the `batch` of `POST /v1/batch`. Read it, don't write to it: calls of one visit share parts.
    """

    at_ms: int
    body: Call
    kind: Kind


def shop_events(seed: int, start_ms: int, rate: float) -> Iterator[DemoCall]:
    """Make the shop's traffic without end.

    Args:
        seed: decides all that happens; the same arguments give the same calls.
        start_ms: when the first call may leave, in milliseconds since 1970 UTC.
        rate: calls a second, on average; more than 0.

    Returns:
        The calls in the order in which they leave (`at_ms` never falls): about 94 % normal, 2 % duplicates (the message id and content of
        an earlier call, sent again), 1 % late (happened hours ago), 1 % bad (see `spoiled.py`) and 2 % of robots.

    Raises:
        ValueError: if the rate is not above 0.
    """
    if not rate > 0:
        raise ValueError(f"rate must be above 0, not {rate}")
    return _traffic(Shop(seed, start_ms), start_ms, rate)


def _traffic(shop: Shop, start_ms: int, rate: float) -> Iterator[DemoCall]:
    """Give every moment its call; duplicates wait in a heap, by the number of the call that they follow."""
    random = shop.random
    visits = [next_visit(shop) for _ in range(max(4, min(MOST_VISITS, round(rate * PACE_S))))]
    robots = [Client(bot_context(random, random.choice(PLACES)), shop.new_id(), None) for _ in range(8)]
    again: list[tuple[int, int, Call]] = []
    clock_ms = float(start_ms)
    number = 0
    while True:
        number += 1
        clock_ms += random.expovariate(rate) * 1000
        at_ms = int(clock_ms)
        if again and again[0][0] <= number:
            yield DemoCall(at_ms, {**heappop(again)[2], "sentAt": iso(at_ms)}, "duplicate")
            continue
        chance = random.random()
        if chance < BAD:
            yield DemoCall(at_ms, _bad(shop, at_ms), "bad")
        elif chance < BAD + BOTS:
            yield DemoCall(at_ms, _bot(shop, random.choice(robots), at_ms), "bot")
        elif chance < BAD + BOTS + LATE:
            yield DemoCall(at_ms, _late(shop, _next_call(shop, visits), at_ms), "late")
        else:
            body = sent(shop, _next_call(shop, visits), at_ms - QUEUED_MS, at_ms)
            if random.random() < DUPLICATES:
                heappush(again, (number + random.randint(1, DUPLICATE_WITHIN), number, body))
            yield DemoCall(at_ms, body, "normal")


def _next_call(shop: Shop, visits: list[Iterator[Call]]) -> Call:
    """Let one of the visits under way go a step on; one that ends makes room for the next."""
    place = shop.random.randrange(len(visits))
    while (call := next(visits[place], None)) is None:
        visits[place] = next_visit(shop)
    return call


def _late(shop: Shop, call: Call, at_ms: int) -> Call:
    """Hold a call back for hours: a phone was offline, or, one time in four, an SDK kept the first try's `sentAt`."""
    happened_ms = at_ms - shop.random.randint(HOUR_MS, 36 * HOUR_MS)
    kept = shop.random.random() < 0.25
    return sent(shop, call, happened_ms, happened_ms if kept else at_ms)


def _bot(shop: Shop, robot: Client, at_ms: int) -> Call:
    """Let a robot read a product's page."""
    product = shop.random.choice(PRODUCTS)
    if shop.random.random() < 0.5:
        return sent(shop, robot.page(f"/products/{product.sku.lower()}", product.name, "Product"), at_ms - QUEUED_MS, at_ms)
    return sent(shop, robot.track("Product Viewed", product_properties(product)), at_ms - QUEUED_MS, at_ms)


def _bad(shop: Shop, at_ms: int) -> Call:
    """Send what breaks a rule."""
    client = Client(browser_context(shop.random, shop.random.choice(PLACES)), shop.new_id(), None)
    call = client.track("Product Viewed", product_properties(shop.random.choice(PRODUCTS)))
    return shop.random.choice(list(SPOILERS.values()))(sent(shop, call, at_ms - QUEUED_MS, at_ms))


def sent(shop: Shop, call: Call, happened_ms: int, sent_ms: int) -> Call:
    """Give a call its id and times, as its SDK does just before it sends it.

    Args:
        shop: gives the id.
        call: what happened; it is changed and returned.
        happened_ms: when it happened, in milliseconds since 1970 UTC.
        sent_ms: when it is sent.
    """
    prefix = f"ajs-next-{happened_ms}-" if call["context"]["library"]["name"] == "analytics.js" else ""
    call["messageId"] = prefix + shop.new_id()
    call["timestamp"] = iso(happened_ms)
    call["sentAt"] = iso(sent_ms)
    return call


def iso(at_ms: int) -> str:
    """Write a moment, in milliseconds since 1970 UTC, as SDKs do: ISO 8601, milliseconds, Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
