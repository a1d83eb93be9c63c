"""Replay: decides what is read again, by whom, and where it goes.

Comes in: what a command asks for, where consumer groups stand, and the records of the topic `jobs`. Goes out: a plan of new positions, the
state of every job, and for each replayed event the targets that it may go to. Ends events with `Drop`: `not_selected`, `no_route`, `duplicate`.
"""
