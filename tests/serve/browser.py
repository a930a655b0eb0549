"""A headless Chromium, driven as a reader of the page would use it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

MISSING = "needs a browser: apt-get install -y --no-install-recommends chromium chromium-driver"
_PATIENCE_S = 30
_CALL = """
const [argument, done] = arguments;
import("/page/%s").then((module) => (%s)(module, argument))
  .then((value) => done({value}), (error) => done({error: String(error)}));
"""


@contextmanager
def chromium(screenshots: Path) -> Iterator[Browser]:
    """A browser; the test skips where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(MISSING)
    options = ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root, Chromium starts in no other way
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(driver))
    try:
        chrome.set_script_timeout(_PATIENCE_S)
        yield Browser(chrome, screenshots)
    finally:
        chrome.quit()


class Browser:
    """One tab."""

    def __init__(self, chrome: Chrome, screenshots: Path) -> None:
        self._chrome, self._screenshots = chrome, screenshots

    def open(self, address: str, *, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        """Load an address, in a window of that size, for a reader who likes that theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self._chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        rights = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        self._chrome.execute_cdp_cmd("Browser.grantPermissions", rights)
        self._chrome.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._chrome.execute_script(script, *arguments)

    def call(self, module: str, function: str, argument: Any) -> Any:
        """What `function(module, argument)`, in JavaScript, returns for a module of the page."""
        answer = self._chrome.execute_async_script(_CALL % (module, function), argument)
        assert "error" not in answer, answer
        return answer["value"]

    def find(self, selector: str) -> WebElement:
        """The first element of a CSS selector, once it is shown."""
        return self.wait(lambda: next((e for e in self.all(selector) if e.is_displayed()), None), selector)

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector."""
        return self._chrome.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, condition: Callable[[], Any], what: str = "") -> Any:
        """What `condition` returns once it is true."""
        redrawn = [StaleElementReferenceException]  # between being found and being asked
        return WebDriverWait(self._chrome, _PATIENCE_S, 0.05, redrawn).until(lambda _: condition(), what)

    def press(self, *keys: str) -> None:
        """Press keys, where the focus is."""
        ActionChains(self._chrome).send_keys(*keys).perform()

    @property
    def focused(self) -> WebElement:
        """What has the focus."""
        return self._chrome.switch_to.active_element

    @property
    def clipboard(self) -> str:
        """What was copied."""
        script = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
        return str(self._chrome.execute_async_script(script))

    def screenshot(self, name: str) -> None:
        """The whole page into the folder of screenshots."""
        height = self.run("return Math.max(document.documentElement.scrollHeight, innerHeight)")
        width = self.run("return innerWidth")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert self._chrome.save_screenshot(str(self._screenshots / f"{name}.png"))

    def barriers(self) -> list[str]:
        """What axe-core finds to keep people out."""
        self.run("document.getAnimations().forEach((animation) => animation.finish())")
        found = Axe().run(self._chrome)["violations"]
        return [f"{rule['id']}: {node['html']} {node['failureSummary']}" for rule in found for node in rule["nodes"]]

    def complaints(self) -> list[str]:
        """What the browser has complained of since the last call: errors, refused styles and scripts."""
        return [entry["message"] for entry in self._chrome.get_log("browser") if entry["level"] == "SEVERE"]

    def requested(self) -> set[str]:
        """Addresses that were asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._chrome.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {params["request"]["url"] for params in sent}
