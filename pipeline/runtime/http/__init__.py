"""Adapters of the HTTP port: the real client, and one in memory; both are held to one contract suite.

Private address ranges are not blocked here yet: a local run delivers to loopback. Until they are, whoever may write a
workspace can make deliver send requests to any host that it can reach.
"""
