"""Runs `headrace` inside the test process, as a user's shell would."""

from typing import Any, NamedTuple

import orjson
import pytest

from pipeline.app.cli import main


class Done(NamedTuple):
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 (any JSON value)
        """The output of `--json`."""
        return orjson.loads(self.out)


class Shell:
    """Runs commands, with the output caught.

    Args:
        patch: pytest's monkeypatch.
        capture: pytest's capsys.
    """

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture

    def run(self, *arguments: str) -> Done:
        """Run a command to its end.

        Args:
            arguments: What stands behind `headrace`.

        Returns:
            What it left.
        """
        self._patch.setattr("sys.argv", ["headrace", *arguments])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capture.readouterr()
        return Done(int(ended.value.code or 0), out, err)
