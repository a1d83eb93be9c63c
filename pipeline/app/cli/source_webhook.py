"""`headrace source add --type webhook`: a source that another product sends to."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from pipeline.app.cli.errors import CommandError
from pipeline.app.cli.output import say, say_json, say_plain
from pipeline.app.cli.workspace_edit import add_to_workspace
from pipeline.app.settings import SECRETS_FILE, Secrets, SettingError, Settings, add_secret
from pipeline.declaration import did_you_mean
from pipeline.registry import SOURCE_PRESETS
from pipeline.sources import WEBHOOK_PATH, SourcePreset, read_preset

_SECRET_BYTES = 32


def add_webhook(path: Path, name: str, slug: str, settings: Settings, *, as_json: bool) -> None:
    """Add a webhook source, and say what to paste where.

    Args:
        path: The workspace.
        name: Id of the source, which is free.
        slug: Its preset; empty for the generic one.
        settings: The settings.
        as_json: Whether a script reads.

    Raises:
        CommandError: There is no such preset, or the file cannot be added to.
    """
    if slug and slug not in SOURCE_PRESETS:
        raise CommandError(f"there is no preset {slug}", did_you_mean(slug, SOURCE_PRESETS), status=2)
    preset = read_preset(slug or SOURCE_PRESETS[0])
    variable = f"{name.upper().replace('-', '_')}_WEBHOOK_SECRET"
    item: dict[str, Any] = {"id": name, "type": "webhook", **({"preset": slug} if slug else {}), "secrets": [f"${{env:{variable}}}"]}
    file = add_to_workspace(path, "sources", item)
    secret = _secret(preset, settings, variable)
    url = f"{settings.collector}{WEBHOOK_PATH}{name}"
    if as_json:
        say_json({"source": name, "url": url, "secret": secret, "variable": variable, "file": str(file)})
        return
    say(f"[green]✓[/] source [bold]{name}[/] is in {file}")
    say(f"\nPaste this URL into {preset.paste} (from elsewhere, with the collector's public address before /v1):")
    say_plain(f"  {url}")
    say(_about_secret(preset, secret, variable, settings))
    say(f"\nName [bold]{name}[/] in sources of what shall get its events, and put it to work: [bold]headrace apply[/]")


def _secret(preset: SourcePreset, settings: Settings, variable: str) -> str:
    """Make the secret where it is ours to make; nothing where it is set already, or its sender makes it."""
    try:
        Secrets(settings.home).resolve(f"${{env:{variable}}}")
    except SettingError:
        if preset.issuer == "us":
            secret = secrets.token_hex(_SECRET_BYTES)
            add_secret(settings.home, variable, secret)
            return secret
    return ""


def _about_secret(preset: SourcePreset, secret: str, variable: str, settings: Settings) -> str:
    place = settings.home / SECRETS_FILE
    if secret:
        return f"and this secret, which is {variable} in {place}:  [bold]{secret}[/]"
    try:
        Secrets(settings.home).resolve(f"${{env:{variable}}}")
    except SettingError:
        return f"{preset.name} then shows a signing secret: put it into {place} as {variable}=…"
    return f"Its secret is {variable}, which is set already."
