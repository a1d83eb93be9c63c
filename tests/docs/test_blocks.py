"""What needs no running process: every block is of a kind that is checked, and what it declares is right."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from pipeline.app.declared import read_topology, read_workspace
from pipeline.app.local.jars import jar_folder
from pipeline.mapping import compile_mapping, compile_query
from tests.docs.blocks import PAGES, ROOT, Block, all_blocks, blocks_of, prints

BLOCKS = all_blocks()
KINDS = {"bash", "python", "javascript", "java", "html", "yaml", "json", "text"}
"""`bash` and `python` are run, `text` is what they print or a drawing, all others are checked here."""


def _of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    """A block without a language, or with another one, would go unseen."""
    assert [] == [block.place for block in BLOCKS if block.language not in KINDS]


def test_a_block_that_is_not_run_says_why() -> None:
    """These are all that are not run; a new one is added here by someone who means it."""
    not_run = {(block.page, block.not_run) for block in BLOCKS if block.not_run and block.language in ("bash", "python")}
    assert sorted(not_run) == sorted(NOT_RUN)


NOT_RUN = {
    ("README.md", "the tests are this checkout and this run"),
    ("docs/guide/adding-a-destination.md", "it is a part of the tests itself"),
    ("docs/guide/compiled.md", "compiles for half a minute, as tests/integration/test_compiled_wheel.py does"),
    ("docs/guide/quickstart.md", "it stays in the foreground; the tests have a run of their own"),
    ("docs/guide/reliability.md", "it takes an hour"),
    ("docs/guide/website.md", "asks npm's registry"),
    ("docs/guide/rudderstack-sdks.md", "tests/acceptance/every_sdk.py sends with it"),
    ("docs/guide/topologies.md", "it stays in the foreground, and the run of the tests has this processor already"),
}


@pytest.mark.parametrize("block", _of("yaml"))
def test_what_a_page_declares_is_right(block: Block, tmp_path: Path) -> None:
    """A workspace (or a part of one) and a topology pass their checks; examples of queries and mappings give what they say."""
    value = yaml.safe_load(block.text)
    if block.title == "examples":
        for example in value:
            rule = compile_query(example["query"]) if "query" in example else compile_mapping(example["mapping"])
            assert rule(example["event"]) == example["gives"], example
    elif "topology" in value:
        file = tmp_path / "topology.yaml"
        file.write_text(block.text, encoding="utf-8")
        read_topology(str(file))
    elif value.keys() & {"workspace", "sources", "destinations", "storage"}:
        file = tmp_path / "workspace.yaml"
        whole = {"workspace": "docs", "sources": [{"id": "web", "write_keys": ["key-of-web"]}], **value}
        file.write_text(yaml.safe_dump(whole), encoding="utf-8")
        read_workspace(file)


@pytest.mark.parametrize("block", _of("json"))
def test_json_is_json(block: Block) -> None:
    """It parses."""
    orjson.loads(block.text)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("block", _of("javascript", "html"))
def test_javascript_parses(block: Block, tmp_path: Path) -> None:
    """Node accepts the script; it is not run, because its packages are not the product's."""
    script = block.text.partition('<script type="module">')[2].partition("</script>")[0] if block.language == "html" else block.text
    file = tmp_path / "block.mjs"
    file.write_text(script, encoding="utf-8")
    assert script.strip()
    subprocess.run(["node", "--check", str(file)], check=True, timeout=60)  # noqa: S607 (found on the path, as a user's shell does)


@pytest.mark.skipif(shutil.which("javac") is None or not jar_folder().is_dir(), reason="no Java compiler, or Kafka's jars are not there yet")
@pytest.mark.parametrize("block", _of("java"))
def test_java_compiles(block: Block, tmp_path: Path) -> None:
    """It compiles against the Kafka client that comes with the local broker."""
    file = tmp_path / "Send.java"
    file.write_text(block.text, encoding="utf-8")
    command = ["javac", "-proc:none", "-cp", f"{jar_folder()}/*", "-d", str(tmp_path), str(file)]
    subprocess.run(command, check=True, timeout=120)


def test_the_pages_have_no_dead_links() -> None:
    """What README.md links to in this repository is there; mkdocs checks the links of the other pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [part.partition(")")[0].partition("#")[0] for part in text.split("](")[1:]]
    assert [] == [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_glossary_is_in_order() -> None:
    """Each word stands once, in the order of the alphabet."""
    rows = (ROOT / "docs" / "guide" / "glossary.md").read_text(encoding="utf-8").splitlines()
    words = [row.split("|")[1].strip() for row in rows if row.startswith("| ")][1:]
    assert words == sorted(set(words), key=str.lower)


def test_the_reference_is_what_the_code_says() -> None:
    """`make docs-check` finds nothing stale."""
    done = subprocess.run([sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_blocks_are_found_with_their_reasons(tmp_path: Path) -> None:
    """A reason belongs to the next block only, and a block in a list loses its indent."""
    page = PAGES[0].parent / "docs" / "guide" / "glossary.md"
    assert blocks_of(page) == []
    assert prints("a …  c\nd", "x\na b  c\nd\n")
    assert not prints("d\na", "a\nd\n")
