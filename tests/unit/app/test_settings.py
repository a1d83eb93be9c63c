"""The environment's settings, secrets behind references, and where the product's own files lie."""

import ipaddress
from pathlib import Path

import pytest

from pipeline.app.settings import Secrets, SettingError, Settings, add_secret, make_home, read_schema, read_secrets_file, read_settings, topology_file


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Nothing set: the home is here, the port is 7070, no broker is known."""
    settings = read_settings({})
    assert settings == Settings(Path(".headrace"), 7070, "")
    assert settings.collector == "http://127.0.0.1:7070"


def test_the_environment_sets_them(tmp_path: Path) -> None:
    """Home, port and bootstrap; an empty value counts as not set."""
    assert read_settings({"HEADRACE_HOME": str(tmp_path), "HEADRACE_PORT": "81", "HEADRACE_BOOTSTRAP": "k:1"}) == Settings(tmp_path, 81, "k:1")
    assert read_settings({"HEADRACE_HOME": "", "HEADRACE_PORT": ""}).port == 7070


@pytest.mark.parametrize(
    ("run", "bootstrap"), [('{"bootstrap": "127.0.0.1:9"}', "127.0.0.1:9"), ("{}", ""), ("[]", ""), ("{", ""), ('{"bootstrap": 1}', "")]
)
def test_a_local_run_says_where_its_broker_is(tmp_path: Path, run: str, bootstrap: str) -> None:
    """`run.json` is read with care: it may be half written or of another release."""
    (tmp_path / "run.json").write_text(run)
    assert read_settings({"HEADRACE_HOME": str(tmp_path)}).bootstrap == bootstrap


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "²"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    """The message names the variable."""
    with pytest.raises(SettingError, match="HEADRACE_PORT"):
        read_settings({"HEADRACE_PORT": port})


def test_references_are_filled_in(tmp_path: Path) -> None:
    """From the environment, else from secrets.env, and from files without their last line break."""
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "secrets.env").write_text("# made by hand\nA=from the file\n B = spaced \nnonsense\n")
    secrets = Secrets(tmp_path, {"A": "from the environment"})
    assert secrets.resolve("${env:A}|${env:B}|plain") == "from the environment|spaced|plain"
    assert secrets.resolve(f"Bearer ${{file:{tmp_path}/token}}") == "Bearer t0ken"


def test_a_secret_that_is_added_later_is_found(tmp_path: Path) -> None:
    """A running process sees what `source add` has written since; the file is its owner's alone."""
    secrets = Secrets(tmp_path / "home", {})
    with pytest.raises(SettingError):
        secrets.resolve("${env:A}")
    path = add_secret(tmp_path / "home", "A", "a=b")
    add_secret(tmp_path / "home", "B", "c")
    assert secrets.resolve("${env:A}") == "a=b"
    assert read_secrets_file(tmp_path / "home") == {"A": "a=b", "B": "c"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_home_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Keys and events lie in it; one that is there, made by whoever shares it, stays as it is."""
    make_home(tmp_path / "new" / "home")
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == 0o700
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    make_home(shared)
    assert shared.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_fault_names_the_reference_only(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or not text: the message holds the reference and nothing of the file."""
    file = tmp_path / "s"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingError) as caught:
        Secrets(tmp_path, {}).resolve(f"${{file:{file}}}")
    assert str(caught.value).startswith(f"${{file:{file}}} ")


def test_the_products_own_files_are_found(tmp_path: Path) -> None:
    """A schema by name; a topology by name or path, and a wrong name gets the right ones."""
    assert read_schema("workspace")["title"] == "workspace"
    assert topology_file("fused").name == "fused.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text("")
    assert topology_file(str(mine)) == mine
    with pytest.raises(SettingError, match="default, fused"):
        topology_file("nothing")


def test_trusted_proxies_are_addresses_and_networks() -> None:
    """With commas between them; anything else is a mistake that is named."""
    assert read_settings({"HEADRACE_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1"}).trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("2001:db8::1/128"),
    )
    with pytest.raises(SettingError, match=r"HEADRACE_TRUSTED_PROXIES.*10\.0\.0\.0/8"):
        read_settings({"HEADRACE_TRUSTED_PROXIES": "the proxy"})
