"""The collector: HTTP in front, Kafka behind, the decisions of `pipeline.ingest` between them."""

from pipeline.app.collector.checking import Checking
from pipeline.app.collector.listener import PortTaken, reserve
from pipeline.app.collector.routes import Reply, RouteRequest, Routes, Stream
from pipeline.app.collector.server import DemoKeyExposed, serve_collector
from pipeline.app.collector.shared import Shared
from pipeline.app.collector.tokens import Tokens

__all__ = ["Checking", "DemoKeyExposed", "PortTaken", "Reply", "RouteRequest", "Routes", "Shared", "Stream", "Tokens", "reserve", "serve_collector"]
