"""`init`, `check`, `source add`, `destination add` and `topology show`, as a user types them."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pipeline.app.cli import build
from pipeline.app.declared import read_workspace
from pipeline.app.demo_workspace import demo_workspace
from tests.unit.app.cli.commands import Shell


def test_from_nothing_to_a_sound_workspace(shell: Shell, tmp_path: Path) -> None:
    """init, source add and destination add make a file that check finds nothing wrong with."""
    assert shell.run("init", "--name", "shop").status == 0
    assert shell.run("source", "add", "web").status == 0
    added = shell.run(
        "destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example.com", "--set", "shared_secret=${env:WEB_WRITE_KEY}"
    )
    assert added.status == 0, added.err
    checked = shell.run("check", "--json")
    assert checked.json == {"ok": True, "problems": [], "warnings": [], "workspace": "shop", "sources": 1, "destinations": 1, "storage": 0}
    text = (tmp_path / "workspace.yaml").read_text()
    assert '    write_keys: ["${env:WEB_WRITE_KEY}"]\n' in text
    assert '    settings: {url: "https://crm.example.com", shared_secret: "${env:WEB_WRITE_KEY}"}\n' in text
    assert "# Secrets are references" in text


def test_a_write_key_is_kept_where_only_its_owner_reads_it(shell: Shell, tmp_path: Path) -> None:
    """The key is shown once and lies in secrets.env with mode 0600, not in the workspace's file."""
    shell.run("init")
    done = shell.run("source", "add", "my-web", "--json").json
    secrets = tmp_path / ".headrace" / "secrets.env"
    assert len(bytes.fromhex(done["write_key"])) * 8 == 128
    assert secrets.read_text() == f"MY_WEB_WRITE_KEY={done['write_key']}\n"
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert done["write_key"] not in (tmp_path / "workspace.yaml").read_text()


def test_a_key_that_is_set_already_is_kept(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment goes before secrets.env, so no second key is made that nobody would use."""
    monkeypatch.setenv("WEB_WRITE_KEY", "from-the-environment")
    shell.run("init")
    assert shell.run("source", "add", "web", "--json").json["write_key"] == "from-the-environment"
    assert not (tmp_path / ".headrace").exists()


def test_the_snippets_point_at_the_collector(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address and key stand in the code to paste, and nothing names another host."""
    monkeypatch.setenv("HEADRACE_PORT", "7171")
    monkeypatch.setenv("WEB_WRITE_KEY", "0123456789abcdef")
    shell.run("init")
    out = shell.run("source", "add", "web").out
    assert "curl http://127.0.0.1:7171/v1/track" in out
    assert "-u 0123456789abcdef:" in out
    assert 'analytics.host = "http://127.0.0.1:7171"' in out
    assert 'writeKey: "0123456789abcdef", cdnURL: "http://127.0.0.1:7171"' in out
    assert "segment.io/" not in out


def test_output_has_no_colours_without_a_terminal(shell: Shell) -> None:
    """No escape sequence reaches a file or a pipe, in output, help or errors."""
    runs = [shell.run("init"), shell.run("source", "add", "web"), shell.run("--help"), shell.run("check", "nowhere"), shell.run("chekc")]
    assert not any("\x1b" in done.out + done.err for done in runs)


def test_check_tells_every_problem(shell: Shell, tmp_path: Path) -> None:
    """Problems go to the standard error with file, line and hint, or out as JSON; the exit status is 1."""
    (tmp_path / "workspace.yaml").write_text("workspace: shop\nsorces: []\n")
    done = shell.run("check")
    assert (done.status, done.err) == (1, "workspace.yaml:2:1: sorces: unknown key sorces\n  → did you mean sources?\n")
    found = shell.run("check", "--json")
    assert (found.status, found.json["ok"]) == (1, False)
    assert found.json["problems"][0] == {
        "file": "workspace.yaml",
        "line": 2,
        "column": 1,
        "path": "sorces",
        "message": "unknown key sorces",
        "hint": "did you mean sources?",
    }


def test_check_reads_a_folder_and_schemas_beside_the_file(shell: Shell, tmp_path: Path) -> None:
    """A folder's files are one workspace; paths count from the file that names them."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "a.yaml").write_text("workspace: shop\n")
    (folder / "b.yml").write_text("sources: [{id: web, write_keys: [abcdefgh], schemas: {Signed Up: signed_up.json}}]\n")
    (folder / "signed_up.json").write_text('{"required": ["plan"]}')
    assert shell.run("check", "shop", "--json").json["sources"] == 1
    (folder / "signed_up.json").unlink()
    assert "there is no file signed_up.json" in shell.run("check", "-w", "shop").err
    added = shell.run("source", "add", "ios", "-w", "shop")
    assert added.status == 1
    (folder / "signed_up.json").write_text("{}")
    assert shell.run("source", "add", "ios", "-w", "shop", "--json").json["file"] == "shop/b.yml"


def test_a_secret_that_is_not_set_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    """It may be set where the processors run; the message names the reference."""
    (tmp_path / "workspace.yaml").write_text("workspace: shop\nsources: [{id: web, write_keys: ['${env:NOT_SET}', '${file:/nowhere}']}]\n")
    done = shell.run("check")
    assert done.status == 0
    assert "on this machine ${env:NOT_SET} is not set" in done.err
    assert "on this machine ${file:/nowhere} cannot be read: there is no file /nowhere" in done.err


@pytest.mark.parametrize(
    ("command", "status", "message", "remedy"),
    [
        (("init",), 1, "workspace.yaml is there already", "edit it"),
        (("init", "other.yaml", "--name", "A"), 2, "A is no id for a workspace", "lower-case"),
        (("check", "nowhere.yaml"), 1, "there is no file or folder nowhere.yaml", "check the path"),
        (("source", "add", "Web"), 2, "Web is no id for a source", "lower-case"),
        (("source", "add", "web"), 1, "the workspace has a source web already", "another name"),
        (("destination", "add", "webhok"), 2, "unknown type of destination: webhok", "did you mean webhook?"),
        (("destination", "add", "webhook"), 2, "webhook needs url", "--set url=…"),
        (("destination", "add", "webhook", "--set", "ulr=x"), 2, "ulr is no setting of webhook", "did you mean url?"),
        (("destination", "add", "webhook", "--set", "url=x", "--source", "wbe"), 2, "there is no source wbe", "did you mean web?"),
        (("destination", "add", "webhook", "--set", "shared_secret=abc"), 2, "shared_secret is a secret", "shared_secret=${env:SHARED_SECRET}"),
        (("destination", "add", "webhook", "--set", "headers=abc"), 2, "headers is a map", "--set headers.KEY=VALUE"),
        (("topology", "show", "defualt"), 1, "there is no topology defualt", "default, fused"),
        (("topics", "plan"), 1, "no Kafka is known", "headrace up"),
        (("send", "track", "--properties", "{"), 2, "--properties is not JSON", "quote it"),
        (("send", "track", "--properties", "[]"), 2, "--properties is not an object", "--properties"),
        (("send", "track", "--url", "ftp://x"), 2, "ftp://x/v1/track is no HTTP address", "--url"),
        (("tail", "raw", "--from", "yesterday", "--bootstrap", "x:1"), 2, "--from yesterday is no place to begin", "2026-05-01"),
        (("dead", "show", "raw"), 2, "raw is no place of a dead letter", "dead.validate/0/12"),
        (("dead", "list", "--processor", "validat"), 2, "there is no processor validat with dead letters", "did you mean validate?"),
        (("dead", "list", "--reason", "rejectd"), 2, "there is no reason rejectd", "did you mean rejected?"),
        (("dead", "redrive"), 2, "which dead letters?", "--all"),
    ],
)
def test_a_fault_has_a_remedy_and_a_status(shell: Shell, command: tuple[str, ...], status: int, message: str, remedy: str) -> None:
    """What is wrong, what to do, 1 for a fault and 2 for wrong use; nothing on the standard output."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    done = shell.run(*command)
    assert done.status == status
    assert done.err.startswith(f"error: {message}")
    assert remedy in done.err
    assert done.out == ""


def test_a_file_that_cannot_be_added_to_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    """A broken workspace is refused with its problems before anything is written."""
    (tmp_path / "workspace.yaml").write_text("workspace: shop\nsources: none\n")
    done = shell.run("source", "add", "web")
    assert done.status == 1
    assert "needs a list, but it is text" in done.err
    assert (tmp_path / "workspace.yaml").read_text() == "workspace: shop\nsources: none\n"
    assert not (tmp_path / ".headrace").exists()


def test_a_setting_that_check_refuses_is_never_written(shell: Shell, tmp_path: Path) -> None:
    """A destination that would make the workspace unsound is refused with its place, and the file stays as it was."""
    shell.run("init")
    shell.run("source", "add", "web")
    before = (tmp_path / "workspace.yaml").read_bytes()
    done = shell.run("destination", "add", "webhook", "--set", "url=nonsense")
    assert done.status == 1
    assert "destinations[0].settings.url" in done.err
    assert before == (tmp_path / "workspace.yaml").read_bytes()


def test_without_a_source_there_is_no_destination(shell: Shell) -> None:
    """A destination takes events from sources, so one comes first."""
    shell.run("init")
    assert "add one first: headrace source add web" in shell.run("destination", "add", "webhook", "--set", "url=u").err


def test_settings_of_a_map_are_put_together(shell: Shell, tmp_path: Path) -> None:
    """`--set headers.NAME=VALUE` fills in one entry."""
    shell.run("init")
    shell.run("source", "add", "web")
    done = shell.run("destination", "add", "webhook", "--set", "url=http://x", "--set", "headers.x-team=a", "--set", "headers.x-env=b", "--json")
    assert done.json["destination"] == "webhook"
    assert "headers: {x-team: a, x-env: b}" in (tmp_path / "workspace.yaml").read_text()


def _commands(command: Any, name: str = "") -> Iterator[str]:  # noqa: ANN401 (typer's own kind of command)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name.strip()
    else:
        for word, one in inner.items():
            yield from _commands(one, f"{name} {word}")


@pytest.mark.parametrize("command", sorted(_commands(get_command(build()))))
def test_every_command_has_help_with_an_example(shell: Shell, command: str) -> None:
    """`--help` says what the command does and shows it used."""
    done = shell.run(*command.split(), "--help")
    assert done.status == 0
    assert f"headrace {command}" in done.out.partition("Examples")[2]


def test_a_wrong_topology_is_refused_with_its_line(shell: Shell, tmp_path: Path) -> None:
    """`topology show` checks before it draws."""
    (tmp_path / "mine.yaml").write_text("topology: mine\nprocessors:\n  x: {input: raw, steps: [validat]}\n")
    done = shell.run("topology", "show", "mine.yaml")
    assert done.status == 1
    assert "mine.yaml:3:27: processors.x.steps[0]: unknown step validat\n  → did you mean validate?" in done.err


def test_a_file_s_path_counts_from_the_file_that_names_it(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever folder the command is called in, and the processes run in."""
    folder = tmp_path / "shop"
    shell.run("init", str(folder), "--name", "shop")
    shell.run("source", "add", "web", "--workspace", str(folder / "workspace.yaml"))
    settings = ("--set", "url=https://x.example", "--set", "shared_secret=${file:keys/crm}")
    shell.run("destination", "add", "webhook", "--source", "web", *settings, "--workspace", str(folder / "workspace.yaml"))
    (folder / "keys").mkdir()
    (folder / "keys" / "crm").write_text("secret")
    for here in (tmp_path, folder, folder / "keys"):
        monkeypatch.chdir(here)
        done = shell.run("check", str(folder), "--json")
        assert [] == [one for one in done.json["warnings"] if "keys/crm" in one], done
    monkeypatch.chdir(tmp_path)
    (destination,) = read_workspace(Path("shop")).destinations.values()
    assert f"${{file:{folder}/keys/crm}}" == destination.settings["shared_secret"]


def test_a_public_key_that_is_none_is_told(shell: Shell, tmp_path: Path) -> None:
    """Where it stands in the file it is a problem, behind a reference a warning, for it may be another one elsewhere."""
    shell.run("init", "--name", "shop")
    path = tmp_path / "workspace.yaml"
    head = "workspace: shop\nsources:\n  - {id: web, oauth: {client_id: c, public_keys: {k1: %s}}}\n"
    path.write_text(head % "banana")
    done = shell.run("check", "--json")
    assert (1, ["the public key k1 is no public key in PEM"]) == (done.status, [one["message"] for one in done.json["problems"]])
    path.write_text(head % '"${file:k1.pem}"')
    assert any("there is no file" in one for one in shell.run("check", "--json").json["warnings"])
    (tmp_path / "k1.pem").write_text("-----BEGIN PRIVATE KEY-----")
    warnings = shell.run("check", "--json").json["warnings"]
    assert any("k1.pem}, the public key k1 of web, is no public key in PEM" in one for one in warnings), warnings


def test_a_url_that_leads_inside_is_a_warning_with_its_place(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the URL and the remedy are said, check still ends with 0, and where such addresses are allowed nothing is said."""
    shell.run("init", "--name", "shop")
    shell.run("source", "add", "web")
    shell.run("destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example.com/hook")
    shell.run("destination", "add", "webhook", "--id", "erp", "--set", "url=http://10.1.2.3:8080/hook")
    text = (tmp_path / "workspace.yaml").read_text().splitlines()
    line = next(number for number, content in enumerate(text, start=1) if "10.1.2.3" in content)
    checked = shell.run("check")
    assert checked.status == 0
    assert f"workspace.yaml:{line}: the url of erp leads to 10.1.2.3, which is not public" in checked.err
    assert "HEADRACE_PRIVATE_DESTINATIONS=allow" in checked.err
    assert [1] == [len(shell.run("check", "--json").json["warnings"])]
    monkeypatch.setenv("HEADRACE_PRIVATE_DESTINATIONS", "allow")
    assert [] == shell.run("check", "--json").json["warnings"]


def test_a_source_that_nothing_takes_events_of_is_a_warning(shell: Shell) -> None:
    """Its events would be answered with 200 and go nowhere, so check says so until a destination names it."""
    shell.run("init", "--name", "shop")
    added = shell.run("source", "add", "web")
    assert "Name web in sources of what shall get its events" in added.out
    warning = "nothing takes the events of web: name it in sources of a destination or a storage"
    assert [warning] == shell.run("check", "--json").json["warnings"]
    shell.run("destination", "add", "webhook", "--id", "crm", "--set", "url=https://crm.example.com/hook")
    assert [] == shell.run("check", "--json").json["warnings"]


def test_what_the_local_run_sets_itself_is_not_missing(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver's address is known to the run alone; elsewhere the same workspace gets the warning."""
    home = tmp_path / "home"
    monkeypatch.setenv("HEADRACE_HOME", str(home))
    home.mkdir()
    place = demo_workspace(home)
    assert [] == shell.run("check", str(place), "--json").json["warnings"]
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "other"))
    assert any("${env:HEADRACE_RECEIVER} is not set" in one for one in shell.run("check", str(place), "--json").json["warnings"])


def test_the_version_is_said(shell: Shell) -> None:
    """As a bug report wants it."""
    done = shell.run("--version")
    assert (done.status, done.out) == (0, f"headrace {version('headrace')}\n")
