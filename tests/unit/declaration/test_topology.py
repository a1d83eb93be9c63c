"""Topologies: the two that come with the product, and everything that is refused about others."""

import pytest

from pipeline.declaration import DeclarationError, Problem, load_topology
from pipeline.model.topology import Processor, Topology
from pipeline.resources import resource
from tests.unit.declaration.cases import TOPOLOGY_RULES


def _load(text: str) -> Topology:
    return load_topology(text, "t.yaml", TOPOLOGY_RULES)


def _problems(text: str) -> tuple[Problem, ...]:
    try:
        _load(text)
    except DeclarationError as error:
        return error.problems
    return ()


_DEFAULT = (resource("topologies") / "default.yaml").read_text()


def test_each_stage_of_the_default_is_a_processor() -> None:
    """Validate reads raw and writes validated; each processor is a process of its own, but retry lives with deliver."""
    topology = _load(_DEFAULT)
    assert list(topology.processors) == ["validate", "enrich", "filter", "translate", "deliver", "retry", "lake", "replay"]
    assert topology.processors["validate"] == Processor(
        "validate", "raw", steps=("validate", "dedup"), lanes={"main": "validated", "raw": "raw", "dead": "dead.{stage}"}, process="validate"
    )
    processes = {name: processor.process for name, processor in topology.processors.items()}
    assert processes == {name: "deliver" if name == "retry" else name for name in topology.processors}


def test_the_fused_one_runs_the_same_steps_in_the_same_order() -> None:
    """Fused and default agree on steps, enrichments and partitions, and on what delivers and stores."""
    fused = _load((resource("topologies") / "fused.yaml").read_text())
    default = _load(_DEFAULT)
    assert [step for one in fused.processors.values() for step in one.steps] == [step for one in default.processors.values() for step in one.steps]
    assert fused.processors["prepare"].enrichments == default.processors["enrich"].enrichments
    assert fused.partitions == default.partitions
    for name in ("deliver", "retry", "lake"):
        assert fused.processors[name] == default.processors[name]


_SMALL = """\
topology: small
processors:
  prepare:
    input: raw
    steps: [validate, dedup, filter]
    lanes:
      main: routed
      raw: raw
      dead: dead.{stage}
  translate:
    input: routed
    for_each: destination
    steps: [translate]
    lanes:
      requests: requests.{destination}
      dead: dead.{stage}
"""


def test_a_small_one_is_sound() -> None:
    """The text that the next test spoils is right as it stands."""
    assert list(_load(_SMALL).processors) == ["prepare", "translate"]


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message", "hint"),
    [
        ("topology: small", "topolgy: small", 1, "topolgy", "unknown key topolgy", "did you mean topology?"),
        ("topology: small", "topology: Small", 1, "topology", "is not written as it must be", "lower-case letters"),
        ("    input: raw\n", "    inputs: raw\n", 4, "processors.prepare.inputs", "unknown key inputs", "did you mean input?"),
        ("dedup, filter", "dedupe, filter", 5, "processors.prepare.steps[1]", "unknown step dedupe", "did you mean dedup?"),
        ("dedup, filter", "dedup, dedup, filter", 5, "processors.prepare.steps[2]", "the step dedup stands twice", "keep one"),
        ("      raw: raw\n", "", 6, "processors.prepare.lanes", "the lane raw leads nowhere", "validate writes to it: add raw: raw under lanes"),
        ("main: routed", "mian: routed", 6, "processors.prepare.lanes", "the lane main leads nowhere", "filter writes to it"),
        ("main: routed", "main: routd", 7, "processors.prepare.lanes.main", "there is no topic routd", "did you mean routed?"),
        (
            "      raw: raw\n",
            "      raw: raw\n      main2: routed\n",
            9,
            "processors.prepare.lanes.main2",
            "nothing writes to the lane main2",
            "did you mean main?",
        ),
        (
            "dead: dead.{stage}\n  translate",
            "dead: dead.{stag}\n  translate",
            9,
            "processors.prepare.lanes.dead",
            "there is no topic dead.{stag}",
            "dead.{stage}",
        ),
        (
            "dead: dead.{stage}\n  translate",
            "dead: dead.nobody\n  translate",
            9,
            "processors.prepare.lanes.dead",
            "there is no topic dead.nobody",
            "",
        ),
        ("input: routed", "input: enriched", 11, "processors.translate.input", "no lane leads to enriched", "wire a lane"),
        (
            "    for_each: destination\n",
            "    for_each: storage\n",
            12,
            "processors.translate.for_each",
            "kind steps cannot run like this",
            "write for_each: destination",
        ),
        ("requests.{destination}", "requests.crm", 15, "processors.translate.lanes.requests", "the topic's name must hold {destination}", "is lost"),
        (
            "steps: [translate]",
            "steps: [translate, filter]",
            13,
            "processors.translate.steps[0]",
            "no message goes on after translate",
            "make it the last step",
        ),
        (
            "input: routed\n",
            "input: routed\n    enrichments: [geo]\n",
            12,
            "processors.translate.enrichments",
            "nothing runs them",
            "add the step enrich",
        ),
        ("    steps: [translate]\n", "", 10, "processors.translate", "steps is missing", "its steps in order"),
        ("  prepare:\n", "  Prepare:\n", 3, "processors.Prepare", "Prepare is no name for a processor", "lower-case letters"),
        ("    input: raw\n", "    input: raw\n    commit_interval_ms: 0\n", 5, "processors.prepare.commit_interval_ms", "0 is less than 1", ""),
        (
            "processors:\n",
            "processors:\n  prepare: {input: raw}\n",
            4,
            "processors.prepare",
            "the key prepare stands twice",
            "the first is on line 3",
        ),
    ],
)
def test_a_fault_is_told_with_place_and_hint(old: str, new: str, line: int, path: str, message: str, hint: str) -> None:
    """Each fault is found first among the problems of the text that it spoils."""
    found = [problem for problem in _problems(_SMALL.replace(old, new, 1)) if problem.path == path and problem.message == message]
    assert [problem.line for problem in found] == [line]
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("processor", "path", "message"),
    [
        ("{kind: deliver, input: 'requests.{destination}'}", "processors.x", "kind deliver cannot run like this"),
        ("{kind: deliver, for_each: destination, input: routed}", "processors.x.input", "kind deliver needs {destination} in its input"),
        ("{kind: lake, input: raw}", "processors.x", "kind lake cannot run like this"),
        ("{kind: lake, for_each: storage, input: raw, steps: [filter]}", "processors.x.steps", "kind lake runs no steps"),
        ("{kind: retry, input: 'retry.{delay}', for_each: destination, lanes: {due: a}}", "processors.x.for_each", "kind retry cannot run like this"),
        ("{steps: [filter], input: 'requests.{destination}'}", "processors.x.input", "nothing fills {destination}"),
        ("{steps: [filter], input: 'retry.{delay}'}", "processors.x.input", "only kind retry reads a topic for each delay"),
        ("{kind: retry, input: 'retry.{delay}', lanes: {due: 'requests.{destination}'}}", "processors.x.input", "no lane leads to retry.{delay}"),
        ("{kind: sink, input: raw}", "processors.x.kind", "sink is not one of its values"),
        ("{steps: [enrich], enrichments: [gio, bot, bot], input: raw}", "processors.x.enrichments[0]", "unknown enrichment gio"),
        ("{steps: [enrich], enrichments: [gio, bot, bot], input: raw}", "processors.x.enrichments[2]", "the enrichment bot stands twice"),
    ],
)
def test_a_kind_has_its_own_rules(processor: str, path: str, message: str) -> None:
    """Deliver, retry and lake are wired as the runtime needs them."""
    assert (path, message) in {(problem.path, problem.message) for problem in _problems(f"topology: t\nprocessors:\n  x: {processor}\n")}


def test_placeholders_may_be_written_out() -> None:
    """One destination's topic, one stage's dead letters and one delay are topics of the table too."""
    text = _SMALL.replace("dead.{stage}\n  translate", "dead.validate\n  translate").replace("main: routed", "main: routed")
    assert _problems(text) == ()


def test_an_empty_file_and_broken_yaml_are_refused() -> None:
    """Neither is a topology."""
    assert [problem.message for problem in _problems("")] == ["processors is missing", "topology is missing"]
    assert _problems("a: b: c")[0].message.startswith("not YAML")
