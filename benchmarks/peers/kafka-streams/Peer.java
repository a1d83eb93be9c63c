import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The work of Headrace's fused processor on Kafka Streams: parse, correct times, JSON Schema, dedup, enrich, route, write; exactly once.
 *
 * Arguments: a properties file of Kafka Streams, the input topic, the output topic, the folder of the six calls' schemas, and a JSON file with what
 * user agents say (both sides look them up by value) and the header `routes` of the source. Prints how many records it has taken, twice a second.
 */
public final class Peer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String[] CALLS = {"identify", "track", "page", "screen", "group", "alias"};
    private static final String STORE = "seen";
    private static final DateTimeFormatter ISO = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    static final AtomicLong taken = new AtomicLong();

    static final class Judge implements Processor<byte[], byte[], byte[], byte[]> {
        private final Map<String, JsonSchema> schemas;
        private final JsonNode agents;
        private final byte[] routes;
        private final Map<String, Map<String, String>> campaigns = new LinkedHashMap<>(1024, 0.75f, true) {
            @Override protected boolean removeEldestEntry(Map.Entry<String, Map<String, String>> eldest) { return size() > 1024; }
        };
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<String, Long> seen;

        Judge(Map<String, JsonSchema> schemas, JsonNode facts) {
            this.schemas = schemas;
            this.agents = facts.get("agents");
            this.routes = facts.get("routes").asText().getBytes(StandardCharsets.UTF_8);
        }

        @Override public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            this.seen = context.getStateStore(STORE);
        }

        @Override public void process(Record<byte[], byte[]> record) {
            taken.incrementAndGet();
            try {
                judge(record);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }

        private void judge(Record<byte[], byte[]> record) throws java.io.IOException {
            JsonNode parsed = JSON.readTree(record.value());
            if (!(parsed instanceof ObjectNode body)) return;
            body.remove("writeKey");
            var received = record.headers().lastHeader("received_at");
            long receivedMs = received == null ? record.timestamp() : Long.parseLong(new String(received.value(), StandardCharsets.US_ASCII));
            correctTimes(body, receivedMs);
            JsonSchema schema = schemas.get(body.path("type").asText());
            if (schema == null || !schema.validate(body).isEmpty()) return;
            if ("identify".equals(body.path("type").asText())) fillTraits(body);
            String source = new String(record.headers().lastHeader("source").value(), StandardCharsets.UTF_8);
            String id = source + "\0" + body.get("messageId").asText();
            if (seen.putIfAbsent(id, record.timestamp()) != null) return;
            if (body.get("context") instanceof ObjectNode where) enrich(where);
            var headers = record.headers();
            if (received == null) headers.add("received_at", Long.toString(receivedMs).getBytes(StandardCharsets.US_ASCII));
            headers.add("routes", routes);
            headers.add("config", "1".getBytes(StandardCharsets.US_ASCII));
            context.forward(record.withValue(JSON.writeValueAsBytes(body)).withHeaders(headers));
        }

        private static void correctTimes(ObjectNode body, long receivedMs) {
            String received = ISO.format(Instant.ofEpochMilli(receivedMs));
            body.put("receivedAt", received);
            JsonNode stated = body.remove("timestamp");
            JsonNode original = body.get("originalTimestamp");
            if (original == null && stated != null) {
                original = stated;
                body.set("originalTimestamp", stated);
            }
            String corrected = received;
            if (original != null) {
                long occurred = Instant.parse(original.asText()).toEpochMilli();
                JsonNode sent = body.get("sentAt");
                if (sent != null) occurred = receivedMs - (Instant.parse(sent.asText()).toEpochMilli() - occurred);
                if (occurred < receivedMs) corrected = ISO.format(Instant.ofEpochMilli(occurred));
            }
            body.put("timestamp", corrected);
        }

        private static void fillTraits(ObjectNode body) {
            JsonNode traits = body.get("traits");
            JsonNode given = body.path("context").get("traits");
            if ((traits == null || traits.isEmpty()) && given instanceof ObjectNode object) body.set("traits", object.deepCopy());
        }

        private void enrich(ObjectNode where) {
            JsonNode agent = where.get("userAgent");
            JsonNode facts = agent == null ? null : agents.get(agent.asText());
            if (facts != null) {
                for (Iterator<Map.Entry<String, JsonNode>> groups = facts.fields(); groups.hasNext();) {
                    Map.Entry<String, JsonNode> group = groups.next();
                    fill(where, group.getKey(), (ObjectNode) group.getValue());
                }
            }
            JsonNode page = where.get("page");
            if (page == null) return;
            String address = page.path("url").asText("");
            String query = !address.isEmpty() ? after(address, '?') : page.path("search").asText("");
            if (!query.contains("utm_")) return;
            Map<String, String> campaign = campaigns.computeIfAbsent(query, Judge::readCampaign);
            if (campaign.isEmpty()) return;
            ObjectNode node = JSON.createObjectNode();
            campaign.forEach(node::put);
            fill(where, "campaign", node);
        }

        private static String after(String text, char mark) {
            int place = text.indexOf(mark);
            return place < 0 ? "" : text.substring(place + 1);
        }

        private static Map<String, String> readCampaign(String query) {
            Map<String, String> found = new LinkedHashMap<>();
            for (String parameter : query.split("#", 2)[0].split("&")) {
                String value = after(parameter, '=');
                if (!parameter.startsWith("utm_") || value.isEmpty()) continue;
                String name = parameter.substring(4, parameter.indexOf('='));
                found.put(name.equals("campaign") ? "name" : name, URLDecoder.decode(value, StandardCharsets.UTF_8));
            }
            return found;
        }

        private static boolean absent(JsonNode node) {
            return node == null || node.isNull() || (node.isTextual() && node.asText().isEmpty());
        }

        private static void fill(ObjectNode where, String name, ObjectNode facts) {
            JsonNode given = where.get(name);
            if (given == null || given.isNull()) {
                where.set(name, facts.deepCopy());
                return;
            }
            if (!(given instanceof ObjectNode own)) return;
            for (Iterator<Map.Entry<String, JsonNode>> each = facts.fields(); each.hasNext();) {
                Map.Entry<String, JsonNode> fact = each.next();
                JsonNode has = own.get(fact.getKey());
                if (!absent(has) && !has.equals(fact.getValue()) && !has.asText().equalsIgnoreCase(fact.getValue().asText())) return;
            }
            for (Iterator<Map.Entry<String, JsonNode>> each = facts.fields(); each.hasNext();) {
                Map.Entry<String, JsonNode> fact = each.next();
                if (absent(own.get(fact.getKey()))) own.set(fact.getKey(), fact.getValue());
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (var reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            settings.load(reader);
        }
        Map<String, JsonSchema> schemas = new HashMap<>();
        JsonSchemaFactory factory = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012);
        for (String call : CALLS) schemas.put(call, factory.getSchema(JSON.readTree(Path.of(arguments[3], call + ".json").toFile())));
        JsonNode facts = JSON.readTree(Path.of(arguments[4]).toFile());

        Topology topology = new Topology();
        topology.addSource("in", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), arguments[1]);
        topology.addProcessor("judge", () -> new Judge(schemas, facts), "in");
        topology.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.Long()), "judge");
        topology.addSink("out", arguments[2], Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "judge");

        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        while (true) {
            Thread.sleep(500);
            System.out.println(taken.get());
        }
    }
}
