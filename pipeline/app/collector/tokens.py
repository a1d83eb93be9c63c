"""The access tokens of one collector: it issues them for assertions, each of which works once, and remembers those it has verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from pipeline.ingest import oauth
from pipeline.ingest.answers import Answer
from pipeline.ingest.credentials import bearer_token
from pipeline.ingest.oauth import NO_TOKEN, Client, Denied, Token

_REMEMBERED_MOST: Final = 10_000
_REPLAYED: Final = Denied(400, "invalid_request", "An assertion with this jti was used before")


class Assertions:
    """The assertions that this process has taken, each of which works once."""

    def __init__(self) -> None:
        self._used: dict[bytes, int] = {}

    def claim(self, mark: bytes, until: int, now: int) -> bool:
        """Take an assertion, unless it was taken before.

        Args:
            mark: Digest of the client's id and the assertion's.
            until: When it can no longer be taken for one that is alive, seconds since the epoch.
            now: The time, seconds since the epoch.

        Returns:
            Whether it was still to be had.
        """
        if self._used.get(mark, 0) > now:
            return False
        self._used[mark] = until
        if len(self._used) > _REMEMBERED_MOST:
            self._used = {one: ends for one, ends in self._used.items() if ends > now}
        return True


class Tokens:
    """Issues and reads access tokens.

    Args:
        clients: Gives the clients by id as they are now.
        secret: What signs tokens; the same in every collector that shall accept them.
        assertions: Those that were used; this process's own unless given.
    """

    def __init__(self, clients: Callable[[], Mapping[str, Client]], secret: bytes, assertions: Assertions | None = None) -> None:
        self._clients = clients
        self._secret = secret
        self._assertions = Assertions() if assertions is None else assertions
        self._verified: dict[bytes, Token] = {}
        self._verified_by: Mapping[str, Client] = {}

    def issue(self, form: bytes, host: str, now: int) -> Answer:
        """Answer a request for a token.

        Args:
            form: Its body.
            host: Value of its Host header.
            now: The time, seconds since the epoch.

        Returns:
            The answer.
        """
        clients = self._clients()
        grant = oauth.judge_assertion(form, clients, host, now)
        if isinstance(grant, Denied):
            return oauth.denied(grant)
        mark = sha256(f"{grant.client}\n{grant.assertion}".encode()).digest()
        if not self._assertions.claim(mark, grant.expires + 60, now):
            return oauth.denied(_REPLAYED)
        client = clients[grant.client]
        return oauth.granted(oauth.token_for(grant, client, self._secret, now), client)

    def of_header(self, authorization: str | None, now: int) -> Token:
        """Read the access token of a request.

        Args:
            authorization: Value of its Authorization header.
            now: The time, seconds since the epoch.

        Returns:
            What it says; nothing where there is none, or nobody who could have got one from us.
        """
        clients = self._clients()
        text = bearer_token(authorization) if clients else ""
        if not text:
            return NO_TOKEN
        if clients is not self._verified_by:
            self._verified.clear()
            self._verified_by = clients
        mark = sha256(text.encode("utf-8", "replace")).digest()
        token = self._verified.get(mark)
        if token is None or token.expires <= now:
            token = oauth.read_token(text, clients, self._secret, now)
            if token.state == "valid":
                if len(self._verified) >= _REMEMBERED_MOST:
                    self._verified.clear()
                self._verified[mark] = token
        return token
