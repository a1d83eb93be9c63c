import com.segment.analytics.kotlin.core.Analytics;
import com.segment.analytics.kotlin.core.BaseEvent;
import com.segment.analytics.kotlin.core.Configuration;
import com.segment.analytics.kotlin.core.RequestFactory;
import com.segment.analytics.kotlin.core.compat.ConfigurationBuilder;
import com.segment.analytics.kotlin.core.compat.JavaAnalytics;
import com.segment.analytics.kotlin.core.utilities.InMemoryStorageProvider;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import kotlin.jvm.functions.Function1;
import kotlinx.serialization.json.Json;
import kotlinx.serialization.json.JsonElement;
import kotlinx.serialization.json.JsonObject;
import kotlinx.serialization.json.JsonPrimitive;

/**
 * Makes calls with the unmodified analytics-kotlin: {@code java Send.java HOST WRITE_KEY CALLS PAUSE_MS}.
 *
 * <p>It has no page call. It speaks https only, so a request factory, which is an option of its own, takes the s away.
 */
public class Send {
  private static class PlainRequests extends RequestFactory {
    @Override
    public HttpURLConnection openConnection(String url) {
      return super.openConnection(url.replace("https://", "http://"));
    }
  }

  public static void main(String[] arguments) throws IOException, InterruptedException {
    Thread.setDefaultUncaughtExceptionHandler(
        (thread, error) -> {
          error.printStackTrace();
          System.exit(1);
        });
    String host = arguments[0].replace("http://", "") + "/v1";
    Configuration configuration =
        new ConfigurationBuilder(arguments[1])
            .setApplication("headrace")
            .setApiHost(host)
            .setCdnHost(host)
            .setRequestFactory(new PlainRequests())
            .build();
    configuration.setStorageProvider(new InMemoryStorageProvider()); // the other one is a folder that all programs share
    JavaAnalytics java = new JavaAnalytics(configuration);
    for (String line : Files.readString(Path.of(arguments[2])).split("\n")) {
      send(java.getAnalytics(), (JsonObject) Json.Default.parseToJsonElement(line));
      Thread.sleep(Long.parseLong(arguments[3]));
    }
    // What it cannot send it keeps and sends with a later flush.
    Thread.sleep(1000);
    int quiet = 0;
    for (int tries = 0; tries < 240 && quiet < 4; tries++) {
      java.flush();
      Thread.sleep(500);
      quiet = java.pendingUploads().isEmpty() ? quiet + 1 : 0;
    }
    System.exit(0);
  }

  private static void send(Analytics analytics, JsonObject call) {
    Function1<BaseEvent, BaseEvent> own = event -> with(event, call);
    switch (text(call, "type")) {
      case "identify" -> {
        if (call.containsKey("userId")) analytics.identify(text(call, "userId"), object(call, "traits"), own);
        else analytics.identify(object(call, "traits"), own);
      }
      case "track" -> analytics.track(text(call, "event"), object(call, "properties"), own);
      case "screen" -> analytics.screen(text(call, "name"), object(call, "properties"), text(call, "category"), own);
      case "group" -> analytics.group(text(call, "groupId"), object(call, "traits"), own);
      case "alias" -> analytics.alias(text(call, "userId"), own);
      default -> {}
    }
  }

  private static BaseEvent with(BaseEvent event, JsonObject call) {
    event.setMessageId(text(call, "messageId"));
    event.setUserId(text(call, "userId"));
    if (call.containsKey("anonymousId")) event.setAnonymousId(text(call, "anonymousId"));
    if (call.containsKey("timestamp")) event.setTimestamp(text(call, "timestamp"));
    if (call.containsKey("context")) event.setContext(merged(event.getContext(), object(call, "context")));
    if (call.containsKey("integrations")) event.setIntegrations(merged(event.getIntegrations(), object(call, "integrations")));
    return event;
  }

  private static JsonObject merged(JsonObject one, JsonObject other) {
    Map<String, JsonElement> all = new HashMap<>(one);
    all.putAll(other);
    return new JsonObject(all);
  }

  private static String text(JsonObject call, String name) {
    return call.get(name) instanceof JsonPrimitive value ? value.getContent() : "";
  }

  private static JsonObject object(JsonObject call, String name) {
    return (JsonObject) call.get(name);
  }
}
