"""Makes every process of a local run a broken build: Python imports this at its start where the folder is on PYTHONPATH."""

import os
import sys

if "pipeline.app.cli" in sys.orig_argv and "run" in sys.orig_argv:
    from tests.faults.broken import BROKEN
    from tests.faults.broken_canaries import LEAKS

    for name in os.environ["HEADRACE_BROKEN"].split():
        {**BROKEN, **LEAKS}[name]()
