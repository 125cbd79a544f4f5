"""A headless Chromium that is shut off from the network, and what a test asks of a page in it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--window-size=1440,960",
)
WAIT = 30
"""Seconds after which a page is thought to be broken."""


def programs() -> tuple[str, str]:
    """Return the paths of Chromium and its driver; skip, or fail if it is required, without."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        required.missing("browser", "selenium is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        required.missing("browser", "chromium or chromedriver is not installed")
    return browser, driver


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = programs()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        chrome = webdriver.Chrome(
            options=options,
            service=Service(driver, log_output=os.devnull),
        )
        try:
            chrome.set_script_timeout(WAIT)
            chrome.set_page_load_timeout(WAIT)
            yield Browser(chrome)
        finally:
            chrome.quit()


class Browser:
    """A page in the browser, asked by JavaScript and by keys.

    Args:
        chrome: Selenium's driver.
    """

    def __init__(self, chrome: Any) -> None:
        self.chrome = chrome

    def command(self, name: str, **arguments: Any) -> Any:
        """Send a command of the Chrome DevTools Protocol."""
        return self.chrome.execute_cdp_cmd(name, arguments)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Give the page a size in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def prefer(self, theme: str, media: str = "") -> None:
        """Set what the system prefers: `light` or `dark`; `media` may be `print`."""
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file afresh, after forgetting what was logged before."""
        self.chrome.get("about:blank")
        self.logged()
        self.chrome.get_log("performance")
        self.chrome.get(page.as_uri() + (f"#{fragment}" if fragment else ""))

    def logged(self) -> list[str]:
        """Return what has been written to the console, and forget it."""
        return [entry["message"] for entry in self.chrome.get_log("browser")]

    def requested(self) -> list[str]:
        """Return the addresses that have been asked for, and forget them."""
        found = []
        for entry in self.chrome.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                params = message["params"]
                found.append(params.get("request", params)["url"])
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return what it returns."""
        return self.chrome.execute_script(script, *arguments)

    def frame(self) -> None:
        """Wait until the page has been painted, and observers have been told."""
        self.chrome.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        )

    def one(self, selector: str) -> Any:
        """Return the one element that fits."""
        (element,) = self.all(selector)
        return element

    def all(self, selector: str) -> list[Any]:
        """Return the elements that fit."""
        from selenium.webdriver.common.by import By

        found: list[Any] = self.chrome.find_elements(By.CSS_SELECTOR, selector)
        return found

    def click(self, selector: str) -> None:
        """Click the one element that fits, and wait for the page to be painted."""
        self.one(selector).click()
        self.frame()

    def keys(self, *keys: str) -> None:
        """Press keys wherever the focus is, and wait for the page to be painted."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        actions = ActionChains(self.chrome)
        for key in keys:
            actions.send_keys(getattr(Keys, key, key))
        actions.perform()
        self.frame()

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that fit."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())",
            selector,
        )
        return found

    def text(self, selector: str) -> str:
        """Return the text of the one element that fits."""
        (text,) = self.texts(selector)
        return text

    def focused(self, selector: str) -> bool:
        """Return whether the focus is on an element that fits."""
        return bool(self.run("return document.activeElement.matches(arguments[0])", selector))
