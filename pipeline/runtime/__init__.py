"""The only room below the app that awaits: brokers, partitions, transactions, state, delivery, sinks.

Comes in: a topology's processors, a workspace and ports. Goes out: records, files, requests, metrics.
It waits, counts and fails, so that no step has to.
"""
