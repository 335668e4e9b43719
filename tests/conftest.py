"""What all tests share: one thread for each of several workers, and one browser."""

import os
import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread_a_worker():
    """Workers that share the cores take one thread each: at every barrier they would wait for one another."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import numba

        numba.set_num_threads(1)


def _missing(reason):
    if os.environ.get("NEEDLEPLAN_CI") == "1":
        pytest.fail(f"{reason}; in CI the pages are tested in a browser")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium, launched once and told to draw WebGL without a graphics card.

    Tests that ask for it are skipped where there is none, and fail in CI.
    """
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
