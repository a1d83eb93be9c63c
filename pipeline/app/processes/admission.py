"""Who may send to the collector: the write keys and OAuth clients of the workspace, with their references resolved."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Final

from pipeline.assembly import disabled_keys, write_keys
from pipeline.assembly.steps import Resolve
from pipeline.ingest import WriteKeys
from pipeline.ingest.oauth import Client, PublicKey, public_key
from pipeline.ingest.webhook import Hook, make_hook, signing_key
from pipeline.model.workspace import OAuth, Signature, Source, Workspace
from pipeline.registry import SOURCE_PRESETS
from pipeline.sources import read_preset

_log = logging.getLogger(__name__)

TOKEN_SECRET: Final = "HEADRACE_TOKEN_SECRET"  # noqa: S105 (the name of the variable)
"""Signs access tokens; the same for all collectors of a workspace."""
_SECRET_CHARACTERS_LEAST: Final = 32


class Admission:
    """What the last version of the workspace lets in.

    Args:
        resolve: Fills in references to secrets.

    Attributes:
        shown: Source id by write key.
        keys: The write keys, disabled ones among them.
        clients: OAuth clients by id.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self.shown: Mapping[str, str] = {}
        self.keys = WriteKeys({})
        self.clients: Mapping[str, Client] = {}
        self._webhooks: Mapping[str, Source] = {}
        self._hooks: dict[str, Hook] = {}
        self._told: set[tuple[str, str]] = set()

    def take(self, workspace: Workspace) -> None:
        """Take over a version of the workspace."""
        self.shown = write_keys(workspace, self._resolve)
        self.keys = WriteKeys(self.shown, disabled_keys(workspace, self._resolve))
        self.clients = {
            source.oauth.client_id: Client(source.id, self._public_keys(source.id, source.oauth), source.oauth.audience, source.oauth.token_seconds)
            for source in workspace.sources.values()
            if source.oauth is not None
        }

        self._webhooks = {source.id: source for source in workspace.sources.values() if source.type == "webhook"}
        self._hooks = {}
        self._told = set()

    @property
    def webhooks(self) -> tuple[str, ...]:
        """Ids of the webhook sources."""
        return tuple(self._webhooks)

    def hook(self, source: str) -> Hook | None:
        """Give a webhook source, compiled at its first delivery; a secret that is not set is looked for again at the next one.

        Args:
            source: Its id.

        Returns:
            The hook, or None where there is no such source. A secret that cannot be used is not in it.
        """
        found = self._hooks.get(source)
        declared = self._webhooks.get(source)
        if found is not None or declared is None:
            return found
        preset = read_preset(declared.preset or SOURCE_PRESETS[0])
        keys = [key for reference in declared.secrets for key in self._signing_keys(declared, declared.signature or preset.signature, reference)]
        found = make_hook(declared, preset, keys)
        if len(keys) == len(declared.secrets):
            self._hooks[source] = found
        return found

    def _signing_keys(self, source: Source, signature: Signature, reference: str) -> list[bytes]:
        try:
            return [signing_key(signature, self._resolve(reference))]
        except ValueError as error:
            if (source.id, reference) not in self._told:  # once: whoever finds the address could fill the log
                self._told.add((source.id, reference))
                _log.warning("A secret of the webhook source %s is left out: %s.", source.id, error)
            return []

    def _public_keys(self, source: str, declared: OAuth) -> dict[str, PublicKey]:
        keys = {}
        for key_id, reference in declared.public_keys.items():
            try:
                keys[key_id] = public_key(self._resolve(reference))
            except ValueError as error:  # one bad key must not stop the other, nor the other sources
                _log.warning("The public key %s of source %s is left out: %s.", key_id, source, error)
        return keys

    def token_secret(self) -> bytes:
        """Give what signs access tokens; one of this process alone where none is set, whose tokens end with it.

        Raises:
            ValueError: It is too short to be safe.
        """
        try:
            secret = self._resolve(f"${{env:{TOKEN_SECRET}}}")
        except ValueError:
            return secrets.token_bytes(32)
        if len(secret) < _SECRET_CHARACTERS_LEAST:
            raise ValueError(f"{TOKEN_SECRET} is too short to be safe: give at least {_SECRET_CHARACTERS_LEAST} characters")
        return secret.encode()
