"""One text of the metrics of several processes that do the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.model.metrics import METRICS

UP: Final = "headrace_worker_up"


def merged(texts: Mapping[int, bytes | None]) -> bytes:
    """Put the metrics of workers together.

    Args:
        texts: What each worker answers under `/metrics`, by its number; None where it does not answer.

    Returns:
        One text in Prometheus' format: each sample with the label `worker`, the samples of a metric together as the format asks for, and whether
        each worker answered.
    """
    families: dict[str, tuple[list[str], list[str]]] = {
        UP: (
            [f"# HELP {UP} {METRICS[UP].sentence}", f"# TYPE {UP} gauge"],
            [f'{UP}{{worker="{number}"}} {float(text is not None)}' for number, text in texts.items()],
        )
    }
    for number, text in texts.items():
        samples: list[str] = []
        for line in (text or b"").decode().splitlines():
            if line.startswith("#"):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
                if line not in heads:
                    heads.append(line)
            elif line:
                samples.append(_labelled(line, number))
    return "".join(f"{line}\n" for heads, samples in families.values() for line in (*heads, *samples)).encode()


def _labelled(sample: str, number: int) -> str:
    """Give a sample the label of its worker."""
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'
