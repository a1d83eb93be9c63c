"""Destination types as data: one folder each, with a declaration and its cases.

Comes in: nothing. Goes out: values of `DestinationType`, and what can be derived from them (the JSON Schema of the
settings, which settings are secrets). No decision about an event is taken here; `translate` renders, `deliver` sends.
"""
