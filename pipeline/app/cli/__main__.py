"""`python -m pipeline.app.cli`, the same as `headrace`."""

from pipeline.app.cli import main

main()
