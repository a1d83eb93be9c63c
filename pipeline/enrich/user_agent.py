"""Device, operating system and browser, read from the user agent."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ua_parser import OS, Device, UserAgent

from pipeline.enrich.fill import fill
from pipeline.enrich.user_agent_parser import MAX_USER_AGENT_LENGTH, load_user_agent_parser, parse_user_agent

__all__ = ["UserAgentFacts", "UserAgentSettings", "create_user_agent", "read_user_agent"]

_BROWSER_PREFIXES = ("Mozilla/", "Opera/")
_DESKTOP_SYSTEMS = frozenset({"Windows", "Mac OS X", "Linux", "Ubuntu", "Chrome OS", "Fedora", "Debian", "Red Hat", "SUSE", "FreeBSD", "OpenBSD"})
_TELEVISIONS = (
    "smart-tv",
    "smarttv",
    "googletv",
    "google tv",
    "android tv",
    "appletv",
    "hbbtv",
    "crkey",
    "roku",
    "bravia",
)
_CONSOLES = ("playstation", "xbox", "nintendo")
_TABLETS = ("ipad", "tablet", "kindle")
_PHONES = ("iphone", "ipod", "mobile", "windows phone")


@dataclass(frozen=True, slots=True)
class UserAgentSettings:
    """Settings of the enrichment ``user_agent``.

    Attributes:
        cache_size: How many distinct user agents are remembered, about 1 KB each.

    """

    cache_size: int = 4096


class UserAgentFacts(NamedTuple):
    """What one user agent says; each group is empty where it says nothing.

    Attributes:
        device: ``type`` (desktop, mobile, tablet, tv or console), ``model``, ``manufacturer``; each only where known.
        os: ``name``, and ``version`` where known.
        browser: ``name``, and ``version`` where known.

    """

    device: dict[str, Any]
    os: dict[str, Any]
    browser: dict[str, Any]


def create_user_agent(settings: UserAgentSettings) -> Callable[[dict[str, Any]], None]:
    """Create the enrichment that adds ``context.device``, ``context.os`` and ``context.browser`` where absent.

    It reads ``context.userAgent``. Names and versions are ua-parser's (``reference/tracking-api.md`` §9 names the
    keys; ``browser`` is ours). A crawler gets nothing: it imitates a device, it has none.

    Args:
        settings: See the class.

    Returns:
        A function over an event's context, which it changes in place; it never raises.

    Raises:
        ImportError: If the Rust core of ua-parser is not installed.

    """
    load_user_agent_parser()
    read = lru_cache(maxsize=settings.cache_size)(read_user_agent)

    def enrich_user_agent(context: dict[str, Any]) -> None:
        user_agent = context.get("userAgent")
        if type(user_agent) is not str:
            return

        device, os, browser = read(user_agent[:MAX_USER_AGENT_LENGTH])
        if device:
            fill(context, "device", device)
        if os:
            fill(context, "os", os)
        if browser:
            fill(context, "browser", browser)

    return enrich_user_agent


def read_user_agent(user_agent: str) -> UserAgentFacts:
    """Read the facts that one user agent states about its device, OS and browser.

    Args:
        user_agent: Any text.

    Returns:
        The groups, empty where nothing is known. ``browser`` only where the text has a browser's form (``Mozilla/…``
        or ``Opera/…``): a library such as okhttp is none.

    """
    parsed = parse_user_agent(user_agent)
    if parsed.device is not None and parsed.device.family == "Spider":
        return UserAgentFacts({}, {}, {})

    is_browser = user_agent.startswith(_BROWSER_PREFIXES)
    system = "" if parsed.os is None else parsed.os.family

    return UserAgentFacts(
        device=_device(parsed.device, _device_type(user_agent.lower(), system, is_browser=is_browser)),
        os=_named_version(parsed.os),
        browser=_named_version(parsed.user_agent) if is_browser else {},
    )


def _device(device: Device | None, device_type: str | None) -> dict[str, Any]:
    """Name what is known of the device; ua-parser's ``Generic_…`` brands stand for not knowing, and so does model K.

    Chrome on Android sends ``Android 10; K`` for every device since version 110 (user-agent reduction).
    """
    facts: dict[str, Any] = {}
    if device_type is not None:
        facts["type"] = device_type
    if device is not None and device.model and device.brand and not device.brand.startswith("Generic"):
        facts["model"] = device.model
        facts["manufacturer"] = device.brand

    return facts


def _device_type(lowered: str, system: str, *, is_browser: bool) -> str | None:
    """Class the device by the words of its user agent; the first class that fits wins."""
    if any(word in lowered for word in _TELEVISIONS):
        return "tv"
    if any(word in lowered for word in _CONSOLES):
        return "console"
    if system in _DESKTOP_SYSTEMS:
        return "desktop"
    if any(word in lowered for word in _TABLETS):
        return "tablet"
    if any(word in lowered for word in _PHONES):
        return "mobile"

    # Browsers on Android say "Mobile" on phones only; other software there (Dalvik) never says it.
    return "tablet" if is_browser and system == "Android" else None


def _named_version(found: OS | UserAgent | None) -> dict[str, Any]:
    """Join a family's version numbers up to the first one missing, as in ``17.4.1``."""
    if found is None:
        return {}
    facts: dict[str, Any] = {"name": found.family}
    numbers: list[str] = []
    for number in (found.major, found.minor, found.patch, found.patch_minor):
        if not number:
            break
        numbers.append(number)
    if numbers:
        facts["version"] = ".".join(numbers)

    return facts
