"""What people declare in files: workspaces and topologies, read, checked, and turned into the model's values.

Comes in: the text of YAML files, and what exists (steps, types, enrichments, the compilers of queries and mappings), given in by the registry.

Goes out: a `Workspace` or a `Topology`; or a `DeclarationError` with everything that is wrong, each `Problem` with file, line, column and hint.
A workspace also goes to records of the topic `config` (`config_records`) and comes back from them (`ConfigFold`).

Nothing here reads a disk, an environment or a clock.
"""

from __future__ import annotations

from pipeline.declaration.config import ConfigFold, DestinationHistory, Parking, config_records, parking_record
from pipeline.declaration.graph import describe, mermaid
from pipeline.declaration.picture import svg
from pipeline.declaration.problems import DeclarationError, Problem, did_you_mean
from pipeline.declaration.references import Reference, is_reference, references_in
from pipeline.declaration.rules import TypeRules, WorkspaceRules
from pipeline.declaration.topology import KINDS, KindRules, TopologyRules, load_topology
from pipeline.declaration.workspace import DeclaredFile, load_workspace

__all__ = [
    "KINDS",
    "ConfigFold",
    "DeclarationError",
    "DeclaredFile",
    "DestinationHistory",
    "KindRules",
    "Parking",
    "Problem",
    "Reference",
    "TopologyRules",
    "TypeRules",
    "WorkspaceRules",
    "config_records",
    "describe",
    "did_you_mean",
    "is_reference",
    "load_topology",
    "load_workspace",
    "mermaid",
    "parking_record",
    "references_in",
    "svg",
]
