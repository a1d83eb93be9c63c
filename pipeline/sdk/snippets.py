"""Code to paste that sends a first event to a source: one table for every SDK, which the live page and `headrace source add` show.

In each text `{write_key}`, `{address}` and the other names of `Place` stand for the user's own. What a vendor calls its settings was read in the
source of the versions that `docs/guide` names.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from pipeline.sdk.address import Address
from pipeline.sdk.website import website_snippet

Family = Literal["website", "app", "server", "http"]
"""Where a snippet belongs; each family has a page in the guide."""


class Place(NamedTuple):
    """Where to send to.

    Attributes:
        write_key: The source's write key.
        source: Id of the source.
        address: The collector's address.
        bootstrap: Kafka's address, empty where it is not known.
        raw_topic: The topic that any Kafka client may write to, with prefix.
    """

    write_key: str
    source: str
    address: Address
    bootstrap: str = ""
    raw_topic: str = ""


class Snippet(NamedTuple):
    """A piece of code.

    Attributes:
        id: Stable name.
        title: Name for a person.
        family: Where it belongs.
        text: The code.
    """

    id: str
    title: str
    family: Family
    text: str


_TABLE: Final = (
    Snippet(
        "curl",
        "curl",
        "http",
        """\
curl {address}/v1/track \\
  -u {write_key}: \\
  -d '{"userId": "u-1", "event": "Signed Up", "properties": {"plan": "Team"}}'
""",
    ),
    Snippet(
        "website",
        "Website",
        "website",
        """\
<script src="{address}/analytics.js/v1/{quoted_key}/snippet.js"></script>
<script>
analytics.track("Signed Up", { plan: "Team" });
</script>
""",
    ),
    Snippet(
        "website-inline",
        "Website (inline)",
        "website",
        """\
<script>
{website}analytics.track("Signed Up", { plan: "Team" });
</script>
""",
    ),
    Snippet(
        "browser",
        "Browser (npm)",
        "website",
        """\
// npm install @segment/analytics-next
import { AnalyticsBrowser } from "@segment/analytics-next";

const analytics = AnalyticsBrowser.load({ writeKey: "{write_key}", cdnURL: "{address}" });

analytics.track("Signed Up", { plan: "Team" });
""",
    ),
    Snippet(
        "python",
        "Python",
        "server",
        """\
# pip install segment-analytics-python
import segment.analytics as analytics

analytics.write_key = "{write_key}"
analytics.host = "{address}"

analytics.track("u-1", "Signed Up", {"plan": "Team"})
analytics.shutdown()  # waits until everything is sent
""",
    ),
    Snippet(
        "node",
        "Node",
        "server",
        """\
// npm install @segment/analytics-node
import { Analytics } from "@segment/analytics-node";

const analytics = new Analytics({ writeKey: "{write_key}", host: "{address}" });

analytics.track({ userId: "u-1", event: "Signed Up", properties: { plan: "Team" } });
await analytics.closeAndFlush();
""",
    ),
    Snippet(
        "go",
        "Go",
        "server",
        """\
// go get github.com/segmentio/analytics-go/v3
client, err := analytics.NewWithConfig("{write_key}", analytics.Config{Endpoint: "{address}"})
if err != nil {
	log.Fatal(err)
}
defer client.Close()
client.Enqueue(analytics.Track{UserId: "u-1", Event: "Signed Up", Properties: analytics.NewProperties().Set("plan", "Team")})
""",
    ),
    Snippet(
        "java",
        "Java",
        "server",
        """\
// com.segment.analytics.java:analytics
Analytics analytics = Analytics.builder("{write_key}").endpoint("{address}").build();

analytics.enqueue(TrackMessage.builder("Signed Up").userId("u-1").properties(Map.of("plan", "Team")));
analytics.flush();
analytics.shutdown();
""",
    ),
    Snippet(
        "php",
        "PHP",
        "server",
        """\
// composer require segmentio/analytics-php
use Segment\\Segment;

Segment::init("{write_key}", ["host" => "{host}", "ssl" => {secure}]);
Segment::track(["userId" => "u-1", "event" => "Signed Up", "properties" => ["plan" => "Team"]]);
Segment::flush();
""",
    ),
    Snippet(
        "ruby",
        "Ruby",
        "server",
        """\
# gem install analytics-ruby; it speaks https only, so the collector needs a proxy that ends TLS
require "segment/analytics"

analytics = Segment::Analytics.new(write_key: "{write_key}", host: "{name}", port: {tls_port})
analytics.track(user_id: "u-1", event: "Signed Up", properties: { plan: "Team" })
analytics.flush
""",
    ),
    Snippet(
        "dotnet",
        ".NET",
        "server",
        """\
// dotnet add package Segment.Analytics.CSharp; it speaks https unless you give it an HTTPClient of your own
var configuration = new Configuration("{write_key}", apiHost: "{host}/v1", cdnHost: "{host}/v1");
var analytics = new Analytics(configuration);

analytics.Track("Signed Up", new JsonObject { ["plan"] = "Team" });
analytics.Flush();
""",
    ),
    Snippet(
        "kotlin",
        "Kotlin (Android)",
        "app",
        """\
// com.segment.analytics.kotlin:android; it speaks https unless you give it a RequestFactory of your own
val analytics = Analytics("{write_key}", applicationContext) {
    apiHost = "{host}/v1"
    cdnHost = "{host}/v1"
}

analytics.track("Signed Up", buildJsonObject { put("plan", "Team") })
""",
    ),
    Snippet(
        "swift",
        "Swift (iOS)",
        "app",
        """\
// https://github.com/segmentio/analytics-swift; it speaks https unless you give it a requestFactory of your own
let configuration = Configuration(writeKey: "{write_key}")
    .apiHost("{host}/v1")
    .cdnHost("{host}/v1")
let analytics = Analytics(configuration: configuration)

analytics.track(name: "Signed Up", properties: ["plan": "Team"])
""",
    ),
    Snippet(
        "react-native",
        "React Native",
        "app",
        """\
// npm install @segment/analytics-react-native @segment/sovran-react-native
import { createClient } from "@segment/analytics-react-native";

const analytics = createClient({
  writeKey: "{write_key}",
  proxy: "{address}/v1",
  cdnProxy: "{address}/v1",
  useSegmentEndpoints: true,
});

analytics.track("Signed Up", { plan: "Team" });
""",
    ),
    Snippet(
        "rudder-js",
        "RudderStack JS",
        "website",
        """\
// npm install @rudderstack/analytics-js
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

const analytics = new RudderAnalytics();
analytics.load("{write_key}", "{address}", { configUrl: "{address}" });

analytics.track("Signed Up", { plan: "Team" });
""",
    ),
    Snippet(
        "rudder-node",
        "RudderStack Node",
        "server",
        """\
// npm install @rudderstack/rudder-sdk-node
import RudderAnalytics from "@rudderstack/rudder-sdk-node";

const analytics = new RudderAnalytics("{write_key}", { dataPlaneUrl: "{address}" });

analytics.track({ userId: "u-1", event: "Signed Up", properties: { plan: "Team" } });
analytics.flush();
""",
    ),
    Snippet(
        "rudder-python",
        "RudderStack Python",
        "server",
        """\
# pip install rudder-sdk-python
import rudderstack.analytics as analytics

analytics.write_key = "{write_key}"
analytics.dataPlaneUrl = "{address}"

analytics.track("u-1", "Signed Up", {"plan": "Team"})
analytics.flush()
""",
    ),
    Snippet(
        "pixel",
        "Pixel",
        "http",
        """\
<img src="{address}/v1/pixel/track?writeKey={quoted_key}&userId=u-1&event=Email+Opened" width="1" height="1" alt="">
""",
    ),
    Snippet(
        "kafka",
        "Kafka",
        "http",
        """\
echo '{"type": "track", "userId": "u-1", "event": "Signed Up", "messageId": "kcat-1"}' |
  kcat -P -b {bootstrap} -t {raw_topic} -H source={source}
""",
    ),
)

_NAME: Final = re.compile(r"\{(write_key|quoted_key|source|address|host|name|tls_port|secure|bootstrap|raw_topic|website)\}")


def snippets(place: Place) -> tuple[Snippet, ...]:
    """Write the snippets of a source.

    Args:
        place: Where to send to.

    Returns:
        All of the table, with the source's own key and address. Without a broker's address, all but the one for Kafka.
    """
    address = place.address
    name, _, port = address.host.rpartition(":") if re.search(r":\d+$", address.host) else (address.host, "", "443")
    words = {
        "write_key": place.write_key,
        "quoted_key": quote(place.write_key, safe=""),
        "source": place.source,
        "address": str(address),
        "host": address.host,
        "name": name,
        "tls_port": port if address.scheme == "https" else "443",
        "secure": "true" if address.scheme == "https" else "false",
        "bootstrap": place.bootstrap,
        "raw_topic": place.raw_topic,
        "website": website_snippet(place.write_key, address),
    }
    return tuple(
        one._replace(text=_NAME.sub(lambda found: words[found[1]], one.text)) for one in _TABLE if place.bootstrap or "{bootstrap}" not in one.text
    )
