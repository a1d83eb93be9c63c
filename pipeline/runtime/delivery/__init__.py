"""Delivery at work: what reads `requests.<destination>`, sends in a destination's lane and in its order, and writes down what became of it."""
