"""Somebody who uses the explorer's page: in Debian's chromium, without a window."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from mixopt.explore.layout import position
from mixopt.explore.server import serving
from mixopt.explore.what_if import WhatIfs

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NO_BROWSER = "no browser: apt-get install chromium chromium-driver"
SECONDS = 60.0
WIDE, NARROW = (1280, 900), (800, 900)


class Visitor:
    """Somebody who looks at the page and touches it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def find(self, name: str, number: int | None = None) -> WebElement:
        """An element by its id; of the rows by their number."""
        wanted = name if number is None else f'{{"{name}":{number}}}'
        return self.driver.find_element(By.XPATH, f"//*[@id='{wanted}']")

    def text(self, name: str) -> str:
        return self.find(name).text

    def shares(self) -> list[float]:
        """What the fields say, in percent."""
        shown = [self.find("percent", number).get_attribute("value") or "" for number in range(self.rows)]
        # While somebody types it may be anything.
        return [float(each) if each.replace(".", "").isdigit() else -1.0 for each in shown]

    @property
    def rows(self) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, ".rows .row:not(.head, .level)"))

    def slide(self, number: int, share: float) -> None:
        """As a hand does that lets go at once."""
        self.driver.execute_script(
            """const [slider, place] = arguments;
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, place);
            slider.dispatchEvent(new Event('input', {bubbles: true}));""",
            self.find("share", number),
            position(share),
        )

    def type_share(self, number: int, percent: str) -> None:
        field = self.find("percent", number)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(percent or Keys.DELETE, Keys.ENTER)

    def choose(self, name: str, option: str) -> None:
        self.press(name)
        self.await_(lambda: self._option(option) is not None)
        self.click(lambda: self._option(option) or self.find(name))

    def press(self, name: str) -> None:
        self.click(lambda: self.find(name))

    def tick(self, name: str, number: int | None = None) -> None:
        self.click(lambda: self.find(name, number).find_element(By.TAG_NAME, "input"))

    def click(self, find: Callable[[], WebElement]) -> None:
        """On an element, once nothing moves over it any more."""

        def clicked() -> bool:
            try:
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", find())
                find().click()
            except ElementClickInterceptedException:
                return False
            return True

        self.await_(clicked)

    def await_(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS
        while True:
            try:
                if what():
                    return
            except (NoSuchElementException, StaleElementReferenceException):
                pass  # drawn anew this very moment
            assert time.monotonic() < until, "it does not come"
            time.sleep(0.05)

    def mistakes(self) -> list[str]:
        """What the browser complains of."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def _option(self, text: str) -> WebElement | None:
        options = self.driver.find_elements(By.CSS_SELECTOR, "[role=listbox] [role=option]")
        return next((each for each in options if each.text == text), None)


@contextmanager
def browser(*options: str) -> Iterator[webdriver.Chrome]:
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = str(BROWSER)
    for option in (
        "--headless=new",
        "--no-sandbox",  # as root there is none
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        *options,
    ):
        chosen.add_argument(option)
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=chosen, service=webdriver.ChromeService(DRIVER))
    try:
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield driver
    finally:
        driver.quit()


@contextmanager
def visiting(asked: WhatIfs, driver: webdriver.Chrome, size: tuple[int, int] = WIDE) -> Iterator[Visitor]:
    """A page of its own, whose port keeps what it stores apart from that of others in the same browser."""
    driver.set_window_size(*size)
    with serving(asked, port=0) as page:
        thread = Thread(target=page.server.serve_forever, daemon=True)
        thread.start()
        try:
            driver.get(page.url)
            visitor = Visitor(driver)
            visitor.await_(lambda: bool(driver.find_elements(By.ID, "now-gain")))
            visitor.await_(lambda: bool(driver.find_elements(By.CSS_SELECTOR, "#trials .scatterlayer")))
            yield visitor
        finally:
            page.server.shutdown()
            thread.join()
