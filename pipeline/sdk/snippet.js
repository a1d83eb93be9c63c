// Calls are kept in a list until the library is there; then it takes them in order.
(function () {
  var name = "analytics", analytics = (window[name] = window[name] || []);
  if (analytics.initialized || analytics.invoked) return;
  analytics.invoked = true;
  analytics.methods = ["trackSubmit", "trackClick", "trackLink", "trackForm", "pageview", "identify", "reset", "group", "track", "ready", "alias",
    "debug", "page", "screen", "once", "off", "on", "addSourceMiddleware", "addIntegrationMiddleware", "setAnonymousId",
    "addDestinationMiddleware", "register"];
  analytics.factory = function (method) {
    return function () {
      if (window[name].initialized) return window[name][method].apply(window[name], arguments);
      var call = [method].concat(Array.prototype.slice.call(arguments));
      if (["track", "screen", "alias", "group", "page", "identify"].indexOf(method) > -1) {
        var canonical = document.querySelector("link[rel='canonical']");
        call.push({ __t: "bpc", c: (canonical && canonical.getAttribute("href")) || undefined, p: location.pathname, u: location.href,
          s: location.search, t: document.title, r: document.referrer });
      }
      analytics.push(call);
      return analytics;
    };
  };
  analytics.methods.forEach(function (method) { analytics[method] = analytics.factory(method); });
  analytics.load = function (key, options) {
    var script = document.createElement("script");
    script.async = true;
    script.setAttribute("data-global-segment-analytics-key", name);
    script.src = "ADDRESS" + "/analytics.js/v1/" + encodeURIComponent(key) + "/analytics.min.js";
    (document.head || document.documentElement).appendChild(script);
    analytics._loadOptions = options;
    analytics._writeKey = key;
  };
  analytics.load("WRITE_KEY");
  analytics.page();
})();
