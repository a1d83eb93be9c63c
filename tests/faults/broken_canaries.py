"""Builds of the product that say too much, to show that the search for canaries would find it; and one that says all that it can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.app.collector import requests
from pipeline.ingest import collect, records, write_keys
from pipeline.ingest.dead_letters import dead_letter
from pipeline.runtime.delivery import worker
from tests.faults.broken import _replace

_log = logging.getLogger("pipeline")


def talkative() -> None:
    """Log at the level of debugging: no fault, but what an operator does who looks for one."""
    configure = logging.basicConfig

    def broken(**settings: Any) -> None:  # noqa: ANN401 (as basicConfig)
        configure(**{**settings, "level": logging.DEBUG})
        _log.debug("Everything is said.")

    _replace(logging, basicConfig=broken)


def requests_logged() -> None:
    """Log each request that comes in."""

    def broken(request: Any, keys: Any, workspace: Any) -> Any:  # noqa: ANN401 (as collect)
        _log.debug("took %s %s %s", request.ip, request.query, request.body)
        return collect(request, keys, workspace)

    _replace(requests, collect=broken)


def keys_counted() -> None:
    """Count the requests of a key under the key itself."""
    _replace(write_keys, fingerprint_of=lambda key: key)


def values_told() -> None:
    """Say in a dead letter's detail what the value was."""
    letter = dead_letter

    def broken(value: bytes, key: Any, fault: Any, *rest: Any) -> Any:  # noqa: ANN401 (as dead_letter)
        return letter(value, key, fault._replace(message=f"{fault.message} It is {value.decode()}"), *rest)

    _replace(records, dead_letter=broken)


def answers_kept() -> None:
    """Keep what a tool answers as it is."""
    _replace(worker, redacted_answer=lambda body, _masks: body[:1024].decode("utf-8", "replace"))


LEAKS: Final[Mapping[str, Callable[[], None]]] = {
    build.__name__: build for build in (talkative, requests_logged, keys_counted, values_told, answers_kept)
}
"""Every build by its name."""
