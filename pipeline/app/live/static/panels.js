// Every panel of the page, in order. A panel has an id, a title, a place (`wide`, `main` or `side`) and `mount(body, live, head)`, which fills its
// body and listens to `live` (see live.js); `head` is the line of its title, for controls. A new panel is a module and a line here.

import { mountEvents } from "/live/static/panels/events.js";
import { mountExplain } from "/live/static/panels/explain.js";
import { mountGraph } from "/live/static/panels/graph.js";
import { mountReplay } from "/live/static/panels/replay.js";
import { mountSend } from "/live/static/panels/send.js";
import { mountSetup } from "/live/static/panels/setup.js";
import { mountVolumes } from "/live/static/panels/volumes.js";

export const PANELS = [
  { id: "graph", title: "Pipeline", place: "wide", mount: mountGraph },
  { id: "events", title: "Events", place: "main", mount: mountEvents },
  { id: "explain", title: "Explain an event", place: "main", mount: mountExplain },
  { id: "volumes", title: "Events per minute", place: "side", mount: mountVolumes },
  { id: "replay", title: "Replay jobs", place: "side", mount: mountReplay },
  { id: "send", title: "Send a test event", place: "side", mount: mountSend },
  { id: "setup", title: "Connect an app", place: "side", mount: mountSetup },
];
