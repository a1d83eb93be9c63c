"""Takes the pictures of the live page in `docs/images/`, from a real run: broker, processors, demo traffic, Chromium.

Run it with `python docs/screenshots.py`; it needs Chromium and the package playwright, takes about a minute, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Page, async_playwright

from pipeline.app.local.kafka import free_port

IMAGES: Final = Path(__file__).parent / "images"
EVENTS_PER_SECOND: Final = 25
TRAFFIC_SECONDS: Final = 75
READY_SECONDS: Final = 180
COUNT_SECONDS: Final = 40
"""How long the traffic flows before the first picture, so that every curve and counter has something to show."""


@contextlib.asynccontextmanager
async def local_run() -> AsyncIterator[str]:
    """Start the whole product with traffic in a folder of its own.

    Yields:
        The page's address.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        own = {"HEADRACE_HOME": home, "HEADRACE_PORT": str(port), "PYTHONPATH": str(Path(__file__).parents[1])}
        environment = {**os.environ, **own}  # noqa: TID251 (it starts the product as a person does, from their shell)
        command = (sys.executable, "-m", "pipeline.app.cli")
        up = await asyncio.create_subprocess_exec(*command, "up", cwd=home, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            await wait_until_ready(port)
            traffic = ("demo", "--rate", str(EVENTS_PER_SECOND), "--seconds", str(TRAFFIC_SECONDS))
            demo = await asyncio.create_subprocess_exec(*command, *traffic, cwd=home, env=environment, stdout=asyncio.subprocess.DEVNULL)
            yield f"http://127.0.0.1:{port}/"
            with contextlib.suppress(ProcessLookupError):
                demo.terminate()
            await demo.wait()
        finally:
            up.send_signal(signal.SIGINT)
            await up.wait()


async def wait_until_ready(port: int) -> None:
    """Wait until the run takes events.

    Args:
        port: The collector's port.

    Raises:
        TimeoutError: It did not become ready.
    """
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
                writer.close()
                if b" 200 " in status:
                    return
            await asyncio.sleep(0.5)


async def open_page(browser: Browser, address: str, scheme: Literal["light", "dark"], width: int, height: int) -> Page:
    """Open the live page, sharp enough for a high-resolution screen."""
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1.5)
    await page.goto(address)
    await page.locator("tbody tr").nth(5).wait_for()
    return page


async def take(page: Page, name: str) -> None:
    """Write one picture."""
    await page.screenshot(path=IMAGES / f"{name}.png")


async def main() -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is missing: install Debian's package chromium.")
    IMAGES.mkdir(exist_ok=True)
    async with local_run() as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        light = await open_page(browser, address, "light", 1280, 860)
        await asyncio.sleep(COUNT_SECONDS)
        await light.get_by_role("button", name="Pause", exact=True).click()
        await asyncio.sleep(3)  # so that the events of that moment have got to their ends
        await take(light, "live-page")
        await light.get_by_role("button", name="Send", exact=True).click()
        await light.get_by_role("button", name="Show where it got to").click()
        await light.locator(".target", has_text="lake").get_by_text("stored").first.wait_for()
        await take(light, "live-event")
        dark = await open_page(browser, address, "dark", 1280, 860)
        await asyncio.sleep(4)
        await take(dark, "live-page-dark")
        phone = await open_page(browser, address, "light", 390, 844)
        await take(phone, "live-page-phone")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
