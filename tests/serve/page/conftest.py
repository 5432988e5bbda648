"""Undim's page in Debian's Chromium, from a service that runs as its users run it."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Software drawing: WebGL 2 as a graphics card would give it, on machines that have none.
        arguments = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, chromium_sandbox=os.geteuid() != 0
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser, service):
    """A function that opens the page, with options of the browser's context; what it throws fails the test."""
    contexts, thrown = [], []

    def open_one(address=service.url, before=None, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: thrown.append(str(error)))
        page.on("console", lambda line: "Content Security Policy" in line.text and thrown.append(line.text))
        if before is not None:
            before(page)
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert thrown == []


@pytest.fixture
def page(open_page):
    return open_page()
