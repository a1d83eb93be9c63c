"""The words of the product: what every other room imports, and which imports nothing of ours.

Comes in: nothing. Goes out: event and record types, outcomes, reasons, limits, header names, the table of topics,
and what a topology and a workspace declare. Everything here is plain data and pure functions.
"""
