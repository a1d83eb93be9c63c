"""Ties a process to the life of the one that starts it: when the parent is gone, however it went, the child is killed.

Runs as a script of its own (`python -I -S tether.py PARENT COMMAND…`) and becomes the command, so the process id stays the same.
It is no `preexec_fn` because that may deadlock in a parent with threads. Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the
command runs untied, and the next start finds the stray broker by its pid file.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tethered(command: list[str], parent: int) -> list[str]:
    """The command line that runs `command` tied to the process `parent`, which must be the one that starts it."""
    return [sys.executable, "-I", "-S", __file__, str(parent), *command]


def _main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before the tie was made
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the command is ours, and no shell is wanted


if __name__ == "__main__":
    _main()
