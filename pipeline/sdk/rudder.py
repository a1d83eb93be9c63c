"""The source configuration of RudderStack's libraries, as their control plane gives it.

Source: @rudderstack/analytics-js 3.34.1, which needs `source.id`, `source.config` and `source.destinations`; the mobile libraries read the same
document (reference: tracking-api §7). With the statistics on, the library would report on itself to us.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.model.workspace import Source

_UPDATED_AT: Final = "1970-01-01T00:00:00.000Z"
"""The mobile libraries read a time here and do nothing with it; a declaration has none."""


def rudder_source_config(source: Source, write_key: str, workspace: str) -> dict[str, Any]:
    """Make the configuration of a source.

    Args:
        source: The source; a disabled one stops the library.
        write_key: The write key that was asked for.
        workspace: Name of the workspace.

    Returns:
        JSON. It lists no destinations: the library would load their code from RudderStack's own servers.
    """
    return {
        "source": {
            "id": source.id,
            "name": source.id,
            "writeKey": write_key,
            "enabled": source.enabled,
            "workspaceId": workspace,
            "updatedAt": _UPDATED_AT,
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "destinations": [],
            "connections": [],
        }
    }
