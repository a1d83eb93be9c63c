"""Texts that nobody has, planted where secrets and personal data come in, and looked for where nothing of them may come out (test T61)."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from tests.faults.laws import Verdict

Kind = Literal["declared", "sent", "personal"]
"""What a canary stands for: a secret of the workspace; a credential that a stranger sends, which may be somebody's; what says who a visitor is."""
ALL: Final[frozenset[Kind]] = frozenset({"declared", "sent", "personal"})
SECRETS: Final[frozenset[Kind]] = frozenset({"declared", "sent"})
DECLARED: Final[frozenset[Kind]] = frozenset({"declared"})
PERSONAL_IP: Final = "203.0.113.77"
"""An address of a visitor; of the block that documents use (RFC 5737)."""


class Canaries:
    """The canaries of one run, and the places that were searched for them."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {PERSONAL_IP: "personal"}
        self._names: dict[str, str] = {PERSONAL_IP: "address of the visitor"}
        self.found: list[str] = []
        self.searched = 0
        self.bytes = 0

    @property
    def planted(self) -> int:
        """How many there are."""
        return len(self._kinds)

    def plant(self, kind: Kind, name: str) -> str:
        """Make a canary.

        Args:
            kind: What it stands for.
            name: Where it comes in.

        Returns:
            Its text: 40 letters and digits, which survive every encoding but base64.
        """
        text = f"canary{secrets.token_hex(17)}"
        self._kinds[text], self._names[text] = kind, name
        return text

    def search(self, place: str, text: bytes, kinds: frozenset[Kind] = ALL, besides: Iterable[str] = ()) -> None:
        """Look for canaries in what came out.

        Args:
            place: What is searched.
            text: What stands there.
            kinds: Those that may not.
            besides: Canaries that may.
        """
        self.searched += 1
        self.bytes += len(text)
        for canary, kind in self._kinds.items():
            if kind in kinds and canary not in besides and any(form in text for form in _forms(canary)):
                self.found.append(f"{self._names[canary]} ({kind}) in {place}")

    def verdict(self, least: Mapping[str, int]) -> list[Verdict]:
        """Say what was found, and whether enough was searched.

        Args:
            least: What a run that did its work has, by what it is, all of them above zero.
        """
        missing = tuple(name for name, count in least.items() if not count)
        return [
            Verdict("no canary comes out", self.planted * self.searched, tuple(sorted(set(self.found)))),
            Verdict("the run did what canaries were planted for", len(least), missing),
        ]


def _forms(canary: str) -> tuple[bytes, ...]:
    """Give a canary as it is, and as base64 has it, alone or as the name in Basic credentials."""
    return canary.encode(), b64encode(canary.encode())[:48]
