"""The collector: HTTP in front, Kafka behind, the decisions of `pipeline.ingest` between them."""

from pipeline.app.collector.routes import Reply, RouteRequest, Routes, Stream
from pipeline.app.collector.server import DemoKeyExposed, PortTaken, serve_collector

__all__ = ["DemoKeyExposed", "PortTaken", "Reply", "RouteRequest", "Routes", "Stream", "serve_collector"]
