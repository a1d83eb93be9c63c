"""`headrace audit` on whole topologies in memory: what ran is accounted for, and what is taken away is missed."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.times import time_ms
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.resources import resource
from pipeline.runtime.http.memory import an_answer
from pipeline.testing import Driver, event
from tests.unit.app.cli.commands import Done, Shell


@pytest.fixture(params=["default", "fused"])
def ran(request: pytest.FixtureRequest, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """20 events, two of them copies, one that is no JSON; the tool fails twice; a transaction is lost and done again."""
    (tmp_path / "workspace.yaml").write_text("workspace: shop\n")
    monkeypatch.setenv("HEADRACE_BOOTSTRAP", "memory:1")
    statuses = iter((503, 503))
    workspace = Workspace(
        "shop",
        1,
        sources={"web": Source("web")},
        destinations={"crm": Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/hook"})},
        storage={"lake": Storage("lake", "parquet", ("web",), settings={"path": "lake"})},
    )
    with Driver(resource("topologies") / f"{request.param}.yaml", workspace, answering=lambda _: an_answer(next(statuses, 200))) as driver:
        monkeypatch.setattr("pipeline.app.cli.cluster.KafkaBroker", lambda _bootstrap, _client: driver.broker)
        driver.crash("translate")
        for number in range(20):
            driver.send(event(messageId=f"m-{number % 18}", anonymousId=f"a-{number % 18 % 5}"), source="web")
        driver.write("raw", b"ada", b"{", {"source": b"web"})
        driver.run_until_idle()
        driver.advance(60)
        yield driver


def _audit(shell: Shell, driver: Driver, *arguments: str) -> Done:
    return shell.run("audit", "--topology", driver.topology.name, *arguments)


def test_a_run_is_accounted_for(shell: Shell, ran: Driver) -> None:
    """21 in = 18 + 2 duplicates + 1 dead; what two failures wrote to retry came back; nothing is left."""
    done = _audit(shell, ran, "--json")
    assert done.status == 0, done.err
    assert (done.json["residue"], done.json["under_way"], done.json["whole"], done.json["findings"]) == (0, 0, True, [])
    first = done.json["processors"][0]
    assert (first["in"], first["passed"], first["dropped"], first["dead"]) == (21, 18, {"duplicate": 2}, {"invalid_json": 1})
    arrows = {arrow["arrow"]: (arrow["written"], arrow["taken"]) for arrow in done.json["arrows"]}
    assert arrows["deliver.crm retry → retry → deliver.crm"] == (2, 2)
    assert [pair for name, pair in arrows.items() if name.endswith("→ lake.lake")] == [(18, 18)]
    said = _audit(shell, ran)
    assert (said.status, said.out.splitlines()[-1]) == (0, "residue 0: every event is accounted for")


def test_a_transaction_that_is_not_in_the_ledger_is_missed(shell: Shell, ran: Driver) -> None:
    """Without one record of the lake's, its inputs are said to be missing, with place, and the command ends with 1."""
    ledger = ran.broker.log("shop.ledger")[0]
    (last,) = [place for place, record in enumerate(ledger) if record.key == b"lake.lake/routed/0"][-1:]
    taken = orjson.loads(ledger.pop(last).value or b"")["in"]
    done = _audit(shell, ran)
    assert done.status == 1
    assert done.out.splitlines()[-1].startswith(f"residue {taken}: {taken} were lost on ")
    assert done.out.splitlines()[-1].endswith(" → lake.lake")


def test_a_part_of_time_is_said_to_be_one(shell: Shell, ran: Driver) -> None:
    """Before it began nothing was done; since it began everything was, but arrows are not judged."""
    del ran
    name = ("--topology", "default")
    assert shell.run("audit", *name, "--until", "2025-12-31").out.endswith("residue 0: nothing was done in this time\n")
    done = shell.run("audit", *name, "--from", "2025-12-31T00:00:00+01:00")
    assert done.status == 0
    assert "The arrows are approximate" in done.out


def test_times_are_utc_unless_they_say_otherwise() -> None:
    """One instant in three ways; no time is none, and text that is none is refused with a remedy."""
    texts = ("2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00")
    assert [time_ms("--from", text) for text in texts] == [1_767_225_600_000] * 3
    assert time_ms("--from", "") is None
    with pytest.raises(CommandError, match="--until noon is no time"):
        time_ms("--until", "noon")


def test_without_a_ledger_it_says_so(shell: Shell, cluster: object) -> None:
    """A cluster without the workspace's topics has nothing to audit."""
    del cluster
    shell.run("init", "--name", "shop")
    done = shell.run("audit")
    assert done.status == 1
    assert "there is no topic ledger" in done.err
