"""Puts processors together: from a topology, a configuration and the registry to steps, workers and group members.

Comes in: what the topology and the workspace declare, and the ports. Goes out: group members, not started.
"""

from __future__ import annotations

from pipeline.assembly.anew import map_anew, translate_anew
from pipeline.assembly.hosts import HostMaker, Outside
from pipeline.assembly.replay import replay_plan
from pipeline.assembly.steps import Judges, build_steps, disabled_keys, write_keys

__all__ = ["HostMaker", "Judges", "Outside", "build_steps", "disabled_keys", "map_anew", "replay_plan", "translate_anew", "write_keys"]
