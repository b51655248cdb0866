"""Debian's Chromium, headless, driven by playwright, for the tests that look at the page as a person would."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import ConsoleMessage, Page, Request, WebSocket, async_playwright

PATIENCE_MS = 60_000
"""The machine that runs these tests may be busy with others at the same time."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The path of the browser; skips the test, saying so, where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)")


@dataclass
class Window:
    """A page, and what it did that a person would not see."""

    page: Page
    gateway: str
    hosts: set[str] = field(default_factory=set)
    addresses: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What the console printed as an error (a refusal by the Content-Security-Policy is one), and uncaught errors."""

    def _requested(self, request: Request) -> None:
        self.addresses.append(request.url)
        if urlsplit(request.url).scheme not in {"data", "blob"}:
            self.hosts.add(urlsplit(request.url).netloc)

    def _opened_socket(self, socket: WebSocket) -> None:
        self.addresses.append(socket.url)
        self.hosts.add(urlsplit(socket.url).netloc)

    def _printed(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    async def sign_in(self, token: str, tenant: str = "") -> None:
        """Fill in the form that asks for a token."""
        await self.page.fill("input[name=token]", token)
        if tenant:
            await self.page.click("summary")
            await self.page.fill("input[name=tenant]", tenant)
        await self.page.click("button[type=submit]")

    async def signed_in_as(self) -> str:
        """Wait for the sign-in to be good, and for the editor behind it; who the bar says one is."""
        await self.page.wait_for_selector(".fleet-state[data-signed-in=true] b")
        await self.page.wait_for_selector(".graphiql-query-editor .view-lines")
        return await self.page.inner_text(".fleet-state b")

    async def write(self, query: str) -> None:
        """Put a text into the query editor as pasting does."""
        await self.page.click(".graphiql-query-editor .view-lines")
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.insert_text(query)

    async def run(self) -> None:
        """Press the run button."""
        await self.page.click("button.graphiql-execute-button")

    async def pane(self, name: str) -> str:
        """The whole text of one of GraphiQL's panes (operation, variables, response), also what is scrolled away."""
        text = await self.page.evaluate(
            """name => self.__MONACO.editor.getModels()
                 .filter(model => model.uri.path.includes(`${name}.`)).at(-1)?.getValue() ?? ''""",
            name,
        )
        assert isinstance(text, str)
        return text

    async def response(self, containing: str) -> str:
        """Wait for a text to stand in the answer's pane; all of the answer."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while containing not in (answer := await self.pane("response")):
            assert time.monotonic() < deadline, f"no {containing!r} in the answer: {answer}; {self.complaints}"
            await asyncio.sleep(0.05)
        return answer


@asynccontextmanager
async def window(gateway: str, *, color_scheme: str = "light") -> AsyncIterator[Window]:
    """A new browser with a profile of its own and one empty page, for a gateway at an address."""
    executable = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            context = await browser.new_context(
                viewport={"width": 1400, "height": 860},
                color_scheme="dark" if color_scheme == "dark" else "light",
            )
            context.set_default_timeout(PATIENCE_MS)
            page = await context.new_page()
            opened = Window(page, gateway)
            page.on("request", opened._requested)
            page.on("websocket", opened._opened_socket)
            page.on("console", opened._printed)
            page.on("pageerror", lambda error: opened.complaints.append(str(error)))
            yield opened
        finally:
            await browser.close()
