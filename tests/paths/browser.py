"""A real browser for tests of the page: Debian's Chromium, without a window."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from localservers import AirflowStandalone, LocalServerError

PATIENCE = 180_000
"""Milliseconds that something may take to appear; the machines are shared."""

# As root, in a container, and without calls to anybody's servers.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Users:
    """Browsers of Airflow's users, each logged in once.

    Args:
        browser: Playwright's.
    """

    def __init__(self, airflow: AirflowStandalone, browser: Any) -> None:
        self.airflow = airflow
        self._browser = browser
        self._contexts: dict[tuple[str, str], BrowserContext] = {}

    def context(self, user: str = "admin", theme: str = "light") -> BrowserContext:
        """A logged-in browser whose system likes light or dark."""
        if (user, theme) not in self._contexts:
            context = self._browser.new_context(
                color_scheme=theme, viewport={"width": 1280, "height": 900}
            )
            context.set_default_timeout(PATIENCE)
            self._log_in(context, user)
            self._contexts[user, theme] = context
        return self._contexts[user, theme]

    def _log_in(self, context: BrowserContext, user: str) -> None:
        passwords = json.loads(Path(self.airflow.home, "passwords.json").read_text())
        page = context.new_page()
        page.goto(f"{self.airflow.base_url}/auth/login/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", passwords[user])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/auth/" not in url)
        page.close()

    @contextmanager
    def page(self, path: str, user: str = "admin", theme: str = "light") -> Iterator[Page]:
        """A page of Airflow; what its scripts got wrong fails the test."""
        page = self.context(user, theme).new_page()
        mistakes: list[str] = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        try:
            page.goto(f"{self.airflow.base_url}{path}")
            yield page
        finally:
            page.close()
        assert mistakes == []

    def get(self, path: str, user: str | None = "admin") -> Any:
        """The answer to a request with the user's cookie; of nobody at all with None."""
        if user is None:
            context = self._browser.new_context()
            answer = context.request.get(f"{self.airflow.base_url}{path}")
            return answer
        return self.context(user).request.get(f"{self.airflow.base_url}{path}", timeout=PATIENCE)


@contextmanager
def users_of(airflow: AirflowStandalone) -> Iterator[Users]:
    """Starts Chromium.

    Raises:
        LocalServerError: there is none.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise LocalServerError("There is no chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=_ARGUMENTS, timeout=PATIENCE
        )
        try:
            yield Users(airflow, browser)
        finally:
            browser.close()


def legibility(page: Page) -> dict[str, Any]:
    """Texts whose contrast is below 4.5, and the colour of the page's ground."""
    found: dict[str, Any] = page.evaluate(_CONTRAST)
    return found


_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => colour
    .slice(0, 3)
    .map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const host = [...document.querySelectorAll("*")].find((one) => one.shadowRoot);
  const texts = "h1, h2, th, td, .muted, .badge, .state, a, button, span, li";
  const poor = [];
  for (const node of host.shadowRoot.querySelectorAll(texts)) {
    if (!node.textContent.trim() || node.disabled) continue;
    const [one, other] = [luminance(rgb(getComputedStyle(node).color)), luminance(ground(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) poor.push([node.localName, node.className, ratio, node.textContent]);
  }
  return { poor, ground: ground(host.shadowRoot.querySelector("main")) };
}"""
