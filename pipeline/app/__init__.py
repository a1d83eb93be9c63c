"""Wiring only: the processes that a person or a machine starts (collector, live page, command line, local run).

What comes in: the command line, the environment, HTTP. What goes out: running processes. No decision about an event is taken here.
"""
