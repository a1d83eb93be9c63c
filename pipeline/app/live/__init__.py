"""The live page: what flows through a local run, shown in the browser as it happens.

Comes in: records of the pipeline's topics, read without a group, so that nothing of the pipeline waits for the page. Goes out: static files, one
stream of server-sent events for each open page, and JSON about one event. It reads only while a page is open.

`feed` follows and paces, `facts` says what a record means, `recent` keeps the newest events and where each got to, `ledgers` adds up what the
processors did, `standing` tells what they say of themselves, `trail` tells the way of one event, `graph` lays the topology out, `routes` answers
HTTP. A new panel is a module under `static/panels/` and a line in `static/panels.js`.
"""

from pipeline.app.live.feed import LiveFeed
from pipeline.app.live.routes import live_routes
from pipeline.app.live.setup import Setup
from pipeline.app.live.standing import Halt, Standing, standing

__all__ = ["Halt", "LiveFeed", "Setup", "Standing", "live_routes", "standing"]
