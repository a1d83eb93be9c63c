"""Headrace: a customer data platform on Apache Kafka.

Events come in over the tracking protocol (or straight into the topic `raw`), and go out to tools, a lake and warehouses.
The tree below is the flow of an event; `docs/` says which room does what.
"""
