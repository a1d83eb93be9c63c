// The webhook in a page, in device mode: sends each event to `browser_url` as the body of a POST, as the library has it. It asks for no permission
// (`no-cors`, plain text), so any endpoint can be told; what it answers is not read, and nothing is sent again.
window.headrace_webhook = function (settings) {
  var calls = ["track", "identify", "page", "screen", "group", "alias"];
  var loaded = false;

  function wanted(event) {
    if (event.type !== "track") return true;
    return (!settings.events.length || settings.events.indexOf(event.event) > -1) && settings.exceptEvents.indexOf(event.event) < 0;
  }

  function send(context) {
    if (!wanted(context.event)) return Promise.resolve(context);
    var request = { method: "POST", mode: "no-cors", credentials: "omit", keepalive: true, body: JSON.stringify(context.event) };
    return fetch(settings.browser_url, request).then(function () { return context; });
  }

  var plugin = {
    name: "webhook",
    type: "destination",
    version: "1.0.0",
    isLoaded: function () { return loaded; },
    load: function (context, analytics) {
      // From here on each event is marked as sent by this page, and the collector's side leaves it alone.
      var own = analytics.settings.cdnSettings.integrations[settings.id];
      if (own) own.bundlingStatus = "bundled";
      loaded = true;
      return Promise.resolve();
    },
  };
  calls.forEach(function (call) { plugin[call] = send; });
  return plugin;
};
