"""A browser that the tests of this folder share: launched once, told to draw WebGL without a graphics card."""

import os
import shutil

import pytest


def _missing(reason):
    if os.environ.get("NEEDLEPLAN_CI") == "1":
        pytest.fail(f"{reason}; in CI the pages are tested in a browser")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; tests that ask for it are skipped where there is none, and fail in CI."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        _missing("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        yield browser
        browser.close()
