"""What browsers load from the collector: settings documents, analytics.js with its chunks, and a page to try them on."""

from pipeline.app.browser.demo import demo_routes
from pipeline.app.browser.library import AnalyticsLibrary, LibraryError
from pipeline.app.browser.plugins import read_plugins
from pipeline.app.browser.routes import Served, browser_routes

__all__ = ["AnalyticsLibrary", "LibraryError", "Served", "browser_routes", "demo_routes", "read_plugins"]
