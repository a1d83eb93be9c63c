"""Finds one event in the topics, quickly, and explains it; previews a configuration over a sample of events.

Comes in: a message id or the place of a record, and the cluster. Goes out: what `pipeline.explain` says of what was found. Nothing is written.
"""

from __future__ import annotations

from pipeline.app.explain.configurations import read_versions
from pipeline.app.explain.service import Explainer

__all__ = ["Explainer", "read_versions"]
