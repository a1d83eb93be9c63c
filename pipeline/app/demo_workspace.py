"""The workspace of a first run: a source with the write key `demo`, a lake, and two webhooks at the local receiver."""

from __future__ import annotations

from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from pipeline.app.settings import add_secret, read_secrets_file

RECEIVER: Final = "HEADRACE_RECEIVER"
"""Variable that holds the address of the local receiver, another one at each start."""
SECRET: Final = "HEADRACE_RECEIVER_SECRET"  # noqa: S105 (the name of a variable, not a secret)
_WORKSPACE: Final = """\
# The demo workspace of `headrace up`. Change it and say `headrace apply`: every process takes it over without a restart.
workspace: demo

sources:
  - id: web
    write_keys: [demo]  # works on loopback only; `headrace source add NAME` makes real ones
  - id: app
    write_keys: [demo-app]
    schemas:
      Order Completed: {type: object, properties: {properties: {type: object, required: [order_id, total]}}}
    on_violation: tag

destinations:
  # Gets every event as it is.
  - id: crm
    type: webhook
    sources: [web, app]
    settings: {url: "${env:HEADRACE_RECEIVER}/crm", shared_secret: "${env:HEADRACE_RECEIVER_SECRET}"}

  # Gets orders only, in a shape of its own.
  - id: orders
    type: webhook
    sources: [web, app]
    settings: {url: "${env:HEADRACE_RECEIVER}/orders", shared_secret: "${env:HEADRACE_RECEIVER_SECRET}"}
    mappings:
      - name: order
        trigger: type = "track" and event = "Order Completed"
        fields:
          order: {"@path": "$.properties.order_id"}
          total: {"@path": "$.properties.total"}
          currency: {"@path": "$.properties.currency"}
          customer: {"@if": {exists: {"@path": "$.userId"}, then: {"@path": "$.userId"}, else: {"@path": "$.anonymousId"}}}
          text: {"@template": "Order {{properties.order_id}} over {{properties.total}} {{properties.currency}}"}

storage:
  - {id: lake, type: parquet, sources: [web, app], settings: {path: "LAKE"}}
"""


def demo_workspace(home: Path) -> Path:
    """Write the demo workspace unless it is there, and the secret that it shares with the local receiver.

    Args:
        home: Home of the run.

    Returns:
        Path of the workspace's file.
    """
    path = home / "workspace.yaml"
    if not path.exists():
        path.write_text(_WORKSPACE.replace("LAKE", str(home / "lake")), encoding="utf-8")
    if SECRET not in read_secrets_file(home):
        add_secret(home, SECRET, token_urlsafe(32))
    return path
