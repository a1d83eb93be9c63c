"""Code to paste: whole, with the user's own key and address, and with nobody else's."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from pipeline.sdk import Address, Place, Snippet, snippets, website_snippet

PLACE = Place("key-1", "web", Address("https", "cdp.example.com"), "127.0.0.1:9092", "shop.raw")
TABLE = {one.id: one for one in snippets(PLACE)}


def test_every_sdk_has_one() -> None:
    """The list that a user looks through; ids are not used twice."""
    websites, apps = "website website-inline browser rudder-js", "kotlin swift react-native"
    servers, others = "python node go java php ruby dotnet rudder-node rudder-python", "curl pixel kafka"
    assert sorted(f"{websites} {apps} {servers} {others}".split()) == sorted(one.id for one in snippets(PLACE))


@pytest.mark.parametrize("snippet", TABLE.values(), ids=TABLE)
def test_it_can_be_pasted_as_it_is(snippet: Snippet) -> None:
    """Nothing is left to fill in, and no host of a vendor stands in it."""
    assert not re.search(r"\{[a-z_]+\}|WRITE_KEY|ADDRESS|(segment|rudderstack)\.(io|com)/", snippet.text.replace("com.segment", ""))
    assert ("shop.raw" if snippet.id == "kafka" else "key-1") in snippet.text
    assert ("127.0.0.1:9092" if snippet.id == "kafka" else "cdp.example.com") in snippet.text


@pytest.mark.parametrize("name", ["python", "rudder-python"])
def test_python_is_python(name: str) -> None:
    """It parses."""
    ast.parse(TABLE[name].text)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("name", ["browser", "node", "react-native", "rudder-js", "rudder-node"])
def test_javascript_is_javascript(name: str, tmp_path: Path) -> None:
    """Node accepts it."""
    (tmp_path / "snippet.mjs").write_text(TABLE[name].text, encoding="utf-8")
    subprocess.run(["node", "--check", str(tmp_path / "snippet.mjs")], check=True, timeout=60)  # noqa: S607 (found on the path, as a user's shell does)


def test_a_plain_address() -> None:
    """Where the collector has no TLS, an SDK that asks for it separately is told so; the one that knows none is given its port."""
    texts = {one.id: one.text for one in snippets(PLACE._replace(address=Address("http", "127.0.0.1:7070")))}
    assert '"host" => "127.0.0.1:7070", "ssl" => false' in texts["php"]
    assert 'host: "127.0.0.1", port: 443' in texts["ruby"]


def test_without_a_broker_there_is_none_for_kafka() -> None:
    """What cannot be filled in is left out."""
    assert "kafka" not in [one.id for one in snippets(PLACE._replace(bootstrap=""))]


@pytest.mark.parametrize("key", ["a</script><script>alert(1)", 'a"+alert(1)+"', "a\\"])
def test_a_key_cannot_leave_its_string(key: str) -> None:
    """Nor end the script tag that the snippet stands in."""
    text = website_snippet(key, PLACE.address)
    assert "</script" not in text
    [written] = re.findall(r'analytics\.load\((".*")\);', text)
    assert key == orjson.loads(written)
