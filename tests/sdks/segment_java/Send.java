import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.ToNumberPolicy;
import com.segment.analytics.Analytics;
import com.segment.analytics.Callback;
import com.segment.analytics.messages.AliasMessage;
import com.segment.analytics.messages.GroupMessage;
import com.segment.analytics.messages.IdentifyMessage;
import com.segment.analytics.messages.Message;
import com.segment.analytics.messages.MessageBuilder;
import com.segment.analytics.messages.PageMessage;
import com.segment.analytics.messages.ScreenMessage;
import com.segment.analytics.messages.TrackMessage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Date;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Makes calls with the unmodified analytics-java: {@code java Send.java HOST WRITE_KEY CALLS PAUSE_MS}.
 *
 * <p>Prints a line {@code gave up ID} for each call that the SDK says it could not send.
 */
public class Send {
  /** Numbers as they stand in the file, so that integers beyond 64 bits stay what they are. */
  private static final Gson GSON = new GsonBuilder().setObjectToNumberStrategy(ToNumberPolicy.LAZILY_PARSED_NUMBER).create();

  public static void main(String[] arguments) throws Exception {
    Thread.setDefaultUncaughtExceptionHandler(
        (thread, error) -> {
          error.printStackTrace();
          System.exit(1);
        });
    Set<String> open = ConcurrentHashMap.newKeySet();
    Callback callback =
        new Callback() {
          @Override
          public void success(Message message) {
            open.remove(message.messageId());
          }

          @Override
          public void failure(Message message, Throwable error) {
            System.err.println(error);
            System.out.println("gave up " + message.messageId());
            open.remove(message.messageId());
          }
        };
    Analytics analytics = Analytics.builder(arguments[1]).endpoint(arguments[0]).callback(callback).build();
    for (String line : Files.readString(Path.of(arguments[2])).split("\n")) {
      Map<String, Object> call = map(GSON.fromJson(line, Map.class));
      open.add((String) call.get("messageId"));
      analytics.enqueue(message(call));
      Thread.sleep(Long.parseLong(arguments[3]));
    }
    analytics.flush();
    while (!open.isEmpty()) {
      Thread.sleep(20);
    }
    analytics.shutdown();
    System.exit(0); // threads of OkHttp hold the process for a minute
  }

  private static MessageBuilder<?, ?> message(Map<String, Object> call) {
    MessageBuilder<?, ?> builder = builder(call);
    builder.messageId((String) call.get("messageId"));
    if (call.get("userId") != null) builder.userId((String) call.get("userId"));
    if (call.get("anonymousId") != null) builder.anonymousId((String) call.get("anonymousId"));
    if (call.get("context") != null) builder.context(map(call.get("context")));
    if (call.get("timestamp") != null) builder.timestamp(Date.from(Instant.parse((String) call.get("timestamp"))));
    if (call.get("integrations") != null) {
      map(call.get("integrations")).forEach((name, enabled) -> builder.enableIntegration(name, (Boolean) enabled));
    }
    return builder;
  }

  private static MessageBuilder<?, ?> builder(Map<String, Object> call) {
    String name = (String) call.get("name");
    String category = (String) call.get("category");
    return switch ((String) call.get("type")) {
      case "identify" -> IdentifyMessage.builder().traits(timed(call.get("traits")));
      case "track" -> TrackMessage.builder((String) call.get("event")).properties(timed(call.get("properties")));
      case "page" -> page(name, category).properties(timed(call.get("properties")));
      case "screen" -> ScreenMessage.builder(name).properties(timed(call.get("properties")));
      case "group" -> GroupMessage.builder((String) call.get("groupId")).traits(timed(call.get("traits")));
      default -> AliasMessage.builder((String) call.get("previousId"));
    };
  }

  private static PageMessage.Builder page(String name, String category) {
    PageMessage.Builder builder = PageMessage.builder(name);
    return category == null ? builder : builder.category(category);
  }

  private static Map<String, Object> timed(Object values) {
    Map<String, Object> timed = map(values);
    timed.computeIfPresent("at", (name, text) -> Date.from(Instant.parse((String) text)));
    return timed;
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> map(Object value) {
    return (Map<String, Object>) value;
  }
}
