"""An explainer over the topics of a driver, with dedup state that answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pipeline.app.explain import Explainer
from pipeline.app.explain.service import Seen
from pipeline.app.processes.options import call_schemas
from pipeline.assembly import Judges
from pipeline.explain import Explanation
from pipeline.testing import Driver

PREFIX = "shop"


def resolver(secrets: Mapping[str, str]) -> Any:  # noqa: ANN401 (a function of a text)
    """Fill `${env:NAME}` in; one that is not there is a ValueError, as in the product."""

    def resolve(text: str) -> str:
        if text.startswith("${env:"):
            name = text[6:-1]
            if name not in secrets:
                raise ValueError(text)
            return secrets[name]
        return text

    return resolve


def explainer(driver: Driver, *, secrets: Mapping[str, str] | None = None, answers: bool = True) -> Explainer:
    """Make one; without answers it has to read the changelog."""

    async def ask(digest: bytes) -> tuple[list[Seen], int]:
        if not answers:
            return [], 0
        found = []
        for (_, partition), store in driver._stores.items():
            seen = store.seen(digest)
            if seen is not None:
                at_ms, offset = seen
                found.append(Seen(partition, offset, at_ms))
        return found, 1

    return Explainer(
        driver.broker,
        PREFIX,
        Judges(driver.topology, call_schemas(), resolver(secrets or {})),
        clock=driver.clock,
        ask_dedup=ask,
        lake_root=Path,
    )


def explain(driver: Driver, wanted: str, source: str = "", *, answers: bool = True) -> Explanation:
    """Explain one event of a driver."""
    return driver._asyncio.run(explainer(driver, answers=answers).explain(wanted, source))


def body_of(value: bytes | None) -> dict[str, Any]:
    """Parse a value that is an object."""
    body = orjson.loads(value or b"{}")
    assert isinstance(body, dict)
    return body
