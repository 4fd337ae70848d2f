"""A real browser for the page's tests: Chromium without a window, driven by playwright."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = Path(__file__).parent.parent / "amg_cli/viewer/page"
# As root there is no sandbox, and in a container hardly any shared memory.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
ARITHMETIC = ("base", "rle", "masks", "select", "colours", "compare")


@contextmanager
def chromium():
    """The browser, for as long as the block lasts; without one, tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = os.environ.get("AMG_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium (Debian's package chromium), or its path in AMG_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def arithmetic_page(browser):
    """An empty page with the parts of ours that only compute."""
    page = browser.new_page()
    for name in ARITHMETIC:
        page.add_script_tag(path=str(PAGE / f"{name}.js"))
    return page
