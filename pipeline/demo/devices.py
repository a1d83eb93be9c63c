"""Where the shop's calls are made: the `context` that browsers, phones, servers and robots send."""

from random import Random
from typing import Any

from pipeline.demo.catalogue import CAMPAIGNS, Place

Context = dict[str, Any]

SHOP = "https://shop.example.com"

#: User agent, platform and screen of the browsers that visit the shop.
BROWSERS = (
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "macOS",
        (1728, 1117, 2),
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
        "Windows",
        (1920, 1080, 1),
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0", "Linux", (2560, 1440, 1)),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        "iOS",
        (393, 852, 3),
    ),
    (
        "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36",
        "Android",
        (412, 923, 2),
    ),
)

#: Manufacturer, model, system, its version, screen and SDK of the phones that run the shop's app.
PHONES = (
    ("Google", "Pixel 9", "Android", "16", (1080, 2424, 2.6), ("analytics-kotlin", "1.19.2")),
    ("Samsung", "SM-S931B", "Android", "15", (1080, 2340, 2.5), ("analytics-kotlin", "1.19.2")),
    ("Apple", "iPhone17,1", "iOS", "18.6", (1206, 2622, 3), ("analytics-swift", "1.8.0")),
)

#: Robots that a shop's pages meet.
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/139.0.0.0 Safari/537.36",
    "python-requests/2.32.4",
)

SERVER: Context = {"library": {"name": "analytics-python", "version": "2.4.0"}}
MAIL: Context = {"library": {"name": "mail-service", "version": "3.1.0"}}


def browser_context(random: Random, place: Place) -> Context:
    """Make what a browser says about itself during one visit; every second visit comes from a campaign."""
    agent, platform, (width, height, density) = random.choice(BROWSERS)
    context: Context = {
        "library": {"name": "analytics.js", "version": "next-1.84.3"},
        "locale": place.locale,
        "timezone": place.timezone,
        "ip": place.ip,
        "userAgent": agent,
        "userAgentData": {"mobile": platform in ("iOS", "Android"), "platform": platform},
        "screen": {"width": width, "height": height, "density": density},
    }
    if random.random() < 0.5:
        source, medium, name, content = random.choice(CAMPAIGNS)
        context["campaign"] = {"source": source, "medium": medium, "name": name, "content": content}
    return context


def page_of(context: Context, path: str, title: str, referrer: str) -> dict[str, str]:
    """Describe one page as the browser SDK does; a campaign's parameters stand in the address of the visit's first page."""
    campaign = context.get("campaign") if referrer.startswith("https://search.") else None
    search = "?" + "&".join(f"utm_{'campaign' if key == 'name' else key}={text}" for key, text in campaign.items()) if campaign else ""
    return {"path": path, "referrer": referrer, "search": search, "title": title, "url": f"{SHOP}{path}{search}"}


def phone_context(random: Random, place: Place, device_id: str) -> Context:
    """Make what the shop's app says about its phone during one visit."""
    manufacturer, model, system, version, (width, height, density), (library, library_version) = random.choice(PHONES)
    wifi = random.random() < 0.6
    return {
        "app": {"name": "Shop", "version": "5.2.0", "build": "1187", "namespace": "com.example.shop"},
        "device": {
            "id": device_id,
            "manufacturer": manufacturer,
            "model": model,
            "name": model,
            "type": system.lower(),
            "adTrackingEnabled": False,
        },
        "ip": place.ip,
        "library": {"name": library, "version": library_version},
        "locale": place.locale,
        "network": {"bluetooth": False, "carrier": "Telia", "cellular": not wifi, "wifi": wifi},
        "os": {"name": system, "version": version},
        "screen": {"width": width, "height": height, "density": density},
        "timezone": place.timezone,
    }


def bot_context(random: Random, place: Place) -> Context:
    """Make what a robot's visit looks like: a browser SDK that ran under a robot's user agent."""
    return {
        "library": {"name": "analytics.js", "version": "next-1.84.3"},
        "locale": "en-US",
        "timezone": "UTC",
        "ip": place.ip,
        "userAgent": random.choice(BOTS),
        "screen": {"width": 800, "height": 600, "density": 1},
    }
