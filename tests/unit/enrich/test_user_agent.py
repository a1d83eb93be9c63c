"""Device, OS and browser from user agents."""

from typing import Any

import pytest

from pipeline.enrich import create_enrich
from pipeline.enrich.user_agent import UserAgentFacts, read_user_agent
from pipeline.enrich.user_agent_parser import MAX_USER_AGENT_LENGTH

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1"
WINDOWS_CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36"
REDUCED_ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Mobile Safari/537.36"
GALAXY_TABLET = "Mozilla/5.0 (Linux; Android 13; SM-X906B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36"
MAC_SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15"
LINUX_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"
TIZEN_TV = "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/5.0 TV Safari/537.36"
PLAYSTATION = "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15"
IPAD = "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1"
ANDROID_APP = "Dalvik/2.1.0 (Linux; U; Android 13; SM-G991B Build/TP1A)"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("user_agent", "facts"),
    [
        pytest.param(
            IPHONE,
            UserAgentFacts(
                {"type": "mobile", "model": "iPhone", "manufacturer": "Apple"},
                {"name": "iOS", "version": "17.4.1"},
                {"name": "Mobile Safari", "version": "17.4.1"},
            ),
            id="iphone",
        ),
        pytest.param(
            WINDOWS_CHROME,
            UserAgentFacts(
                {"type": "desktop"},
                {"name": "Windows", "version": "10"},
                {"name": "Chrome", "version": "125.0.0.0"},
            ),
            id="windows",
        ),
        pytest.param(
            REDUCED_ANDROID,
            UserAgentFacts(
                {"type": "mobile"},
                {"name": "Android", "version": "10"},
                {"name": "Chrome Mobile", "version": "125.0.0.0"},
            ),
            id="reduced-android",
        ),
        pytest.param(
            GALAXY_TABLET,
            UserAgentFacts(
                {"type": "tablet", "model": "SM-X906B", "manufacturer": "Samsung"},
                {"name": "Android", "version": "13"},
                {"name": "Chrome", "version": "125.0.0.0"},
            ),
            id="android-tablet",
        ),
        pytest.param(
            MAC_SAFARI,
            UserAgentFacts(
                {"type": "desktop", "model": "Mac", "manufacturer": "Apple"},
                {"name": "Mac OS X", "version": "10.15.7"},
                {"name": "Safari", "version": "17.4"},
            ),
            id="mac",
        ),
        pytest.param(
            LINUX_FIREFOX,
            UserAgentFacts({"type": "desktop"}, {"name": "Linux"}, {"name": "Firefox", "version": "126.0"}),
            id="linux-without-version",
        ),
        pytest.param(
            ANDROID_APP,
            UserAgentFacts(
                {"model": "SM-G991B", "manufacturer": "Samsung"},
                {"name": "Android", "version": "13"},
                {},
            ),
            id="app-is-no-browser",
        ),
        pytest.param(GOOGLEBOT, UserAgentFacts({}, {}, {}), id="crawler"),
        pytest.param("analytics-python/2.4.0", UserAgentFacts({}, {}, {}), id="library"),
        pytest.param("", UserAgentFacts({}, {}, {}), id="empty"),
        pytest.param("lone \ud800 surrogate", UserAgentFacts({}, {}, {}), id="surrogate"),
    ],
)
def test_a_user_agent_is_read(user_agent: str, facts: UserAgentFacts) -> None:
    """Each kind of user agent yields just what it states."""
    assert facts == read_user_agent(user_agent)


@pytest.mark.parametrize(("user_agent", "device_type"), [(TIZEN_TV, "tv"), (PLAYSTATION, "console"), (IPAD, "tablet")])
def test_other_screens_are_told_from_computers(user_agent: str, device_type: str) -> None:
    """A television, console or tablet is no desktop, whatever system it says it runs."""
    assert device_type == read_user_agent(user_agent).device["type"]


def test_a_browser_event_gets_device_os_and_browser() -> None:
    """All three groups are added to an event that has none."""
    message: dict[str, Any] = {"context": {"userAgent": WINDOWS_CHROME}}

    create_enrich(["user_agent"], {})(message)

    assert {
        "context": {
            "userAgent": WINDOWS_CHROME,
            "device": {"type": "desktop"},
            "os": {"name": "Windows", "version": "10"},
            "browser": {"name": "Chrome", "version": "125.0.0.0"},
        }
    } == message


def test_a_mobile_sdk_keeps_its_own_device() -> None:
    """What a mobile SDK says about its device and OS stays, since it knows better than the user agent."""
    device = {"id": "d-1", "manufacturer": "Apple", "model": "iPhone15,2", "type": "ios"}
    message: dict[str, Any] = {"context": {"userAgent": IPHONE, "device": dict(device), "os": {"name": "iPadOS", "version": "17.0"}}}

    create_enrich(["user_agent"], {})(message)

    assert device == message["context"]["device"]
    assert {"name": "iPadOS", "version": "17.0"} == message["context"]["os"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"context": None},
        {"context": []},
        {"context": {}},
        {"context": {"userAgent": 5}},
        {"context": {"userAgent": None}},
    ],
)
def test_junk_is_left_alone(message: dict[str, Any]) -> None:
    """An event without a readable user agent stays as it is."""
    before = repr(message)

    create_enrich(["user_agent"], {})(message)

    assert before == repr(message)


def test_an_endless_user_agent_is_read_at_its_start() -> None:
    """Text beyond the first 1,024 characters changes nothing."""
    long = WINDOWS_CHROME + " " * MAX_USER_AGENT_LENGTH
    message: dict[str, Any] = {"context": {"userAgent": long + " Googlebot/2.1"}}

    create_enrich(["user_agent"], {})(message)

    assert {"name": "Chrome", "version": "125.0.0.0"} == message["context"]["browser"]
