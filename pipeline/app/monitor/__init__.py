"""The monitor: events per minute, counted from the ledger by faust-streaming for `status` and the live page.

In: `ledger`, read committed. Out: the changelog of its table, and `GET /volumes.json` on loopback. It stands on the way of no
event: while it is away nothing waits for it, and what it missed it reads from the ledger.
"""
