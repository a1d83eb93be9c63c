"""`headrace source key`: the write keys of a source, and how one follows another."""

from __future__ import annotations

import itertools
import secrets
from typing import Annotated, Final, NamedTuple

import typer

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.options import JsonOption, WorkspaceOption, examples
from pipeline.app.cli.output import say, say_json, table
from pipeline.app.cli.workspace_edit import add_to_source
from pipeline.app.declared import find_workspace, read_workspace
from pipeline.app.settings import Secrets, SettingError, Settings, add_secret, read_settings
from pipeline.declaration import did_you_mean, references_in
from pipeline.model.workspace import Source, Workspace

KEY_BYTES: Final = 16
"""128 bits: more than anyone can guess, 32 characters to copy."""

SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help="Id of the source.", show_default=False)]


class Key(NamedTuple):
    """A write key of a source.

    Attributes:
        declared: As it stands in the workspace's file, where that is a reference; else empty, so that no key is shown.
        fingerprint: Its name in lists and metrics; empty where its secret is not set on this machine.
        enabled: Whether it opens the source.
    """

    declared: str
    fingerprint: str
    enabled: bool


def register(group: typer.Typer) -> None:
    """Add the commands of this file."""
    keys = typer.Typer(no_args_is_help=True, help="The write keys of a source: several work side by side while clients move from one to the next.")
    keys.command("add", epilog=examples("headrace source key add web", "headrace source key add web --json"))(add)
    keys.command("list", epilog=examples("headrace source key list web"))(show)
    keys.command("disable", epilog=examples("headrace source key disable web 1f3a9c07", "headrace source key disable web WEB_WRITE_KEY"))(disable)
    group.add_typer(keys, name="key")


def add(source: SourceArgument, workspace: WorkspaceOption = "", *, as_json: JsonOption = False) -> None:
    """Make a further write key for a source; those that it has go on working.

    The file gets a reference to the key, the key itself goes into secrets.env in HEADRACE_HOME and is shown here once.
    `headrace apply` puts it to work.
    """
    settings = read_settings()
    path = find_workspace(workspace, settings)
    declared = _source(read_workspace(path), source)
    variable = _free_variable(declared, settings)
    key = secrets.token_hex(KEY_BYTES)
    file = add_to_source(path, source, "write_keys", f"${{env:{variable}}}")
    kept = add_secret(settings.home, variable, key)
    named = _fingerprint(key)
    if as_json:
        say_json({"source": source, "write_key": key, "variable": variable, "key": named, "secrets": str(kept), "file": str(file)})
        return
    say(f"[green]✓[/] a further write key of [bold]{source}[/] is {variable} in {kept}:  [bold]{key}[/]")
    say(f"Put it to work: [bold]headrace apply[/]; in metrics it is [bold]{named}[/]")


def show(source: SourceArgument, workspace: WorkspaceOption = "", *, as_json: JsonOption = False) -> None:
    """List the write keys of a source by their fingerprints, which `headrace_ingest_key_requests_total` counts requests by."""
    settings = read_settings()
    keys = _keys(_source(read_workspace(find_workspace(workspace, settings)), source), settings)
    if as_json:
        say_json([{"key": one.fingerprint, "declared": one.declared, "enabled": one.enabled} for one in keys])
        return
    table(
        ("key", "declared", "state"),
        [(one.fingerprint or "not set here", one.declared or "in the file", "enabled" if one.enabled else "disabled") for one in keys],
    )


def disable(
    source: SourceArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its fingerprint, the name of its variable, or the key itself.", show_default=False)],
    workspace: WorkspaceOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Disable a write key: once applied, it is answered like an unknown one, and who still uses it is counted.

    The last enabled key of a source cannot be disabled; switch the source off instead, or add a key first.
    """
    settings = read_settings()
    path = find_workspace(workspace, settings)
    declared = _source(read_workspace(path), source)
    keys = _keys(declared, settings)
    named = (key, f"${{env:{key}}}", _fingerprint(key))
    found = next((one for one in keys if one.fingerprint in named or one.declared in named), None)
    if found is None:
        raise CommandError(f"the source {source} has no write key {key}", f"see: headrace source key list {source}")
    key = found.fingerprint if found.fingerprint == named[-1] else key  # the key itself stands in no error
    if not found.enabled:
        raise CommandError(f"the write key {key} of {source} is disabled already", f"see: headrace source key list {source}")
    if sum(one.enabled for one in keys) == 1 and declared.oauth is None:
        raise CommandError(f"{key} is the only enabled write key of {source}", f"add another one first: headrace source key add {source}")
    text = declared.write_keys[keys.index(found)]
    file = add_to_source(path, source, "disabled_keys", text)
    if as_json:
        say_json({"source": source, "key": found.fingerprint, "declared": found.declared, "file": str(file)})
        return
    say(f"[green]✓[/] the write key {found.fingerprint or found.declared} of [bold]{source}[/] is disabled in {file}")
    say("Put it to work: [bold]headrace apply[/]")


def _source(workspace: Workspace, name: str) -> Source:
    found = workspace.sources.get(name)
    if found is None:
        hint = did_you_mean(name, workspace.sources) or "add it first: headrace source add " + name
        raise CommandError(f"there is no source {name}", hint, status=2)
    return found


def _keys(source: Source, settings: Settings) -> list[Key]:
    """Give the keys of a source, those of `write_keys` first and in order."""
    resolve = Secrets(settings.home).resolve
    gone = [key for key in source.disabled_keys if key not in source.write_keys]
    keys = []
    for text in (*source.write_keys, *gone):
        try:
            named = _fingerprint(resolve(text))
        except SettingError:
            named = ""
        keys.append(Key(text if references_in(text) else "", named, text not in source.disabled_keys))
    return keys


def _fingerprint(key: str) -> str:
    from pipeline.ingest.write_keys import fingerprint_of  # noqa: PLC0415 (the collector's libraries, which no other command needs)

    return fingerprint_of(key)


def _free_variable(source: Source, settings: Settings) -> str:
    stem = f"{source.id.upper().replace('-', '_')}_WRITE_KEY"
    resolve = Secrets(settings.home).resolve
    for number in itertools.count(2):
        variable = f"{stem}_{number}"
        if f"${{env:{variable}}}" in (*source.write_keys, *source.disabled_keys):
            continue
        try:
            resolve(f"${{env:{variable}}}")
        except SettingError:
            return variable
    raise AssertionError
