"""The demo: a made-up shop whose visitors, apps and servers send what real ones would.

In: a seed, a start and a rate. Out: an endless, reproducible stream of tracking calls, each an item ready for the `batch` of
`POST /v1/batch`, with the moment at which it leaves its client and its kind: mostly `normal` ones, and a few of each that a pipeline
has to cope with (`duplicate`, `late`, `bad`, `bot`). Nothing is dropped here and nothing is sent: `headrace demo` and the benchmarks
do the sending. `tally` counts what became of them.
"""

from pipeline.demo.tally import Tally, tally
from pipeline.demo.traffic import DemoCall, Kind, shop_events

__all__ = ["DemoCall", "Kind", "Tally", "shop_events", "tally"]
