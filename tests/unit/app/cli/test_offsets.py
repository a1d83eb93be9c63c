"""`headrace offsets`, on a cluster in memory: what is said before, what is done, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.memory import MemoryBroker
from tests.unit.app.cli.commands import Shell

GROUP = "shop.translate.crm"
ROUTED = TopicPartition("shop.routed", 0)


@pytest.fixture
def shop(shell: Shell, cluster: MemoryBroker) -> Shell:
    """A shell with a workspace, a tool, and five routed events that its translate group has taken."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    shell.run("destination", "add", "webhook", "--id", "crm", "--set", "url=http://x")
    assert 0 == shell.run("apply").status

    async def write() -> None:
        cluster.append([Output("shop.routed", None, b"{}") for _ in range(5)])
        await cluster.admin().set_positions(GROUP, {ROUTED: Position(5)})

    asyncio.run(write())
    return shell


def test_every_group_is_shown_with_its_lag(shop: Shell) -> None:
    """Declared ones too that have never run; one alone with its partitions."""
    groups = {one["group"]: one for one in shop.run("offsets", "show", "--json").json["groups"]}
    assert {"validate", "translate.crm", "deliver.crm", "retry"} <= groups.keys()
    assert 0 == groups["translate.crm"]["lag"]
    assert "shop.routed/0  5          5    0" in shop.run("offsets", "show", "shop.translate.crm").out
    assert "did you mean translate.crm?" in shop.run("offsets", "show", "translate.cmr").err


def test_a_dry_run_counts_and_changes_nothing(shop: Shell, cluster: MemoryBroker) -> None:
    """Records again by partition, checksums of the positions before and after."""
    said = shop.run("offsets", "reset", "translate.crm", "--to", "-2", "--dry-run", "--json").json
    assert (False, 2, 0) == (said["done"], said["again"], said["skipped"])
    assert said["before"] != said["planned"]
    assert Position(5) == cluster.positions(GROUP)[ROUTED]


def test_a_reset_says_where_the_group_is_now(shop: Shell, cluster: MemoryBroker) -> None:
    """The checksum afterwards is the one that was planned."""
    said = shop.run("offsets", "reset", "translate.crm", "--to", "earliest", "--yes", "--json").json
    assert (True, 5) == (said["done"], said["again"])
    assert said["planned"] == said["after"]
    assert Position(0) == cluster.positions(GROUP)[ROUTED]
    assert "It has no members now" in shop.run("offsets", "reset", "translate.crm", "--to", "latest", "--yes").out
    assert Position(5) == cluster.positions(GROUP)[ROUTED]


def test_nothing_is_done_without_a_yes(shop: Shell, cluster: MemoryBroker) -> None:
    """A script must say it."""
    assert "say --yes" in shop.run("offsets", "reset", "translate.crm", "--to", "earliest").err
    assert Position(5) == cluster.positions(GROUP)[ROUTED]


def test_validate_reads_again_in_vain(shop: Shell, tmp_path: Path) -> None:
    """It says why, names the way that works, and goes on only with a yes."""
    refused = shop.run("offsets", "reset", "validate", "--to", "earliest")
    assert 1 == refused.status
    assert "headrace replay --from TIME --from-raw" in refused.err
    assert 0 == shop.run("offsets", "reset", "validate", "--to", "earliest", "--yes").status


def test_a_group_before_a_store_is_not_set_back(shop: Shell, cluster: MemoryBroker) -> None:
    """Rows would be doubled: it is refused by name with the ways that work, also with a yes; to skip, or without a store, it may."""
    enriched, group = TopicPartition("shop.enriched", 0), "shop.filter"

    async def write() -> None:
        cluster.append([Output("shop.enriched", None, b"{}") for _ in range(5)])
        await cluster.admin().set_positions(group, {enriched: Position(3)})

    asyncio.run(write())
    assert 0 == shop.run("offsets", "reset", "filter", "--to", "+1", "--yes").status
    assert 0 == shop.run("offsets", "reset", "filter", "--to", "-1", "--yes").status
    declared = Path("workspace.yaml")
    lake = "storage:\n  - {id: lake, type: parquet, sources: [web], settings: {path: ./lake}}\n"
    declared.write_text(declared.read_text(encoding="utf-8").replace("storage: []\n", lake), encoding="utf-8")
    assert 0 == shop.run("apply").status
    refused = shop.run("offsets", "reset", "filter", "--to", "earliest", "--yes")
    assert 2 == refused.status
    assert "lake.lake would store them beside the old ones" in refused.err
    assert "reset lake.lake" in refused.err
    assert "rows would be doubled" in shop.run("offsets", "reset", "filter", "--to", "earliest", "--dry-run").err
    assert Position(3) == cluster.positions(group)[enriched]
    assert 0 == shop.run("offsets", "reset", "filter", "--to", "latest", "--yes").status


@pytest.mark.parametrize("place", ["begin", "2026-13-01"])
def test_what_is_no_place_is_wrong_use(shop: Shell, place: str) -> None:
    """It names what would be one."""
    done = shop.run("offsets", "reset", "translate.crm", "--to", place)
    assert (2, True) == (done.status, "earliest, latest" in done.err)
