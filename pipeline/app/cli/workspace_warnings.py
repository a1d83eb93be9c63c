"""What `headrace check` and `headrace apply` say of a workspace that is not wrong, and yet may not do what was meant."""

from __future__ import annotations

from pathlib import Path

from pipeline.app.declared import missing_secrets, private_urls, unheard_sources, unusable_keys
from pipeline.app.demo_workspace import RECEIVER
from pipeline.app.explain.places import rule_places
from pipeline.app.settings import Secrets, Settings
from pipeline.model.workspace import Workspace


def workspace_warnings(place: Path, declared: Workspace, settings: Settings) -> list[str]:
    """Look for what may not do what was meant.

    Args:
        place: File or folder of the workspace.
        declared: What it declares.
        settings: The settings.

    Returns:
        A sentence for each, which says what to do.
    """
    secrets, local = Secrets(settings.home), place.parent == settings.home
    here = [*missing_secrets(declared, secrets, {RECEIVER} if local else ()), *unusable_keys(declared, secrets)]
    warnings = [*unheard_sources(declared), *(f"on this machine {sentence}" for sentence in here)]
    if settings.private_destinations is not True and not local:  # what a local run listens on is loopback
        warnings += private_urls(declared, rule_places(place, declared))
    return warnings
