"""The shop's books while the demo runs: its ids, its customers, and the clients that send their calls."""

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid5

from pipeline.demo.catalogue import FIRST_NAMES, LAST_NAMES, PLACES, Place
from pipeline.demo.devices import Context, page_of

Call = dict[str, Any]

#: Customers that the shop remembers and that may come back.
REMEMBERED = 2_000


class Person(NamedTuple):
    """A customer of the shop."""

    user_id: str
    first_name: str
    last_name: str
    email: str
    place: Place

    def traits(self) -> dict[str, Any]:
        """Say what the shop knows about this customer, in the tracking protocol's reserved traits."""
        return {
            "firstName": self.first_name,
            "lastName": self.last_name,
            "email": self.email,
            "address": {"city": self.place.city, "country": self.place.country},
        }


class Shop:
    """Counts ids and keeps customers; all chance in the demo comes from its `random`."""

    def __init__(self, seed: int, start_ms: int) -> None:
        """Open the shop.

        Args:
            seed: decides all that happens.
            start_ms: start of the run; part of every id but the customers', so that a second run is not taken for a repetition.
        """
        self.random = Random(seed)  # noqa: S311 - made-up shoppers, no secrets
        self._namespace = uuid5(NAMESPACE_OID, f"headrace demo {seed} {start_ms}")
        self._ids = 0
        self._people = 0
        self._customers: list[Person] = []

    def new_id(self) -> str:
        """Make the next id, a UUIDv5 of the run and a counter."""
        self._ids += 1
        return str(uuid5(self._namespace, str(self._ids)))

    def new_person(self) -> Person:
        """Make a person who is no customer yet."""
        self._people += 1
        number = 1000 + self._people
        random = self.random
        return Person(
            user_id=f"user_{number}",
            first_name=random.choice(FIRST_NAMES),
            last_name=random.choice(LAST_NAMES),
            email=f"person.{number}@example.com",
            place=random.choice(PLACES),
        )

    def remember(self, person: Person) -> None:
        """Make a person a customer, in the place of an old one where the books are full."""
        if len(self._customers) < REMEMBERED:
            self._customers.append(person)
        else:
            self._customers[self.random.randrange(REMEMBERED)] = person

    def returning(self, chance: float) -> Person | None:
        """Pick a customer who comes back, or nobody."""
        if not self._customers or self.random.random() >= chance:
            return None
        return self.random.choice(self._customers)


class Client:
    """One browser, app or server that sends calls, with the ids that its SDK holds."""

    def __init__(self, context: Context, anonymous_id: str | None, user_id: str | None, channel: str | None = None) -> None:
        """Start a client.

        Args:
            context: what the client says about itself; its parts are shared between the calls it makes.
            anonymous_id: id that the SDK made up; a server has none.
            user_id: id of the person, where known.
            channel: the protocol's `channel`, where the SDK sends one.
        """
        self.context = context
        self.anonymous_id = anonymous_id
        self.user_id = user_id
        self._channel = channel

    def call(self, kind: str, fields: Mapping[str, Any]) -> Call:
        """Make one call without its id and times, which it gets when it is sent."""
        call: Call = {"type": kind}
        if self.anonymous_id:
            call["anonymousId"] = self.anonymous_id
        if self.user_id:
            call["userId"] = self.user_id
        call.update(fields)
        call["context"] = self.context
        call["integrations"] = {}
        if self._channel:
            call["channel"] = self._channel
        return call

    def track(self, event: str, properties: Mapping[str, Any]) -> Call:
        """Make a track call."""
        return self.call("track", {"event": event, "properties": properties})

    def identify(self, person: Person, traits: Mapping[str, Any] | None = None) -> Call:
        """Make an identify call, from which on the client knows the person."""
        self.user_id = person.user_id
        return self.call("identify", {"traits": {**person.traits(), **(traits or {})}})

    def page(self, path: str, title: str, category: str) -> Call:
        """Make a page call; later calls of this client happen on that page."""
        last = self.context.get("page")
        page = page_of(self.context, path, title, last["url"] if last else "https://search.example.net/")
        self.context = {**self.context, "page": page}
        return self.call("page", {"name": title, "category": category, "properties": page})

    def screen(self, name: str, category: str) -> Call:
        """Make a screen call."""
        return self.call("screen", {"name": name, "category": category, "properties": {"name": name}})
