"""The photos application in a real browser: two people, live pictures, search, and a large file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.server import ServerProcess, eventually
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "apps" / "photos" / "pictures"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the application, started as `make up` does it."""
    running = ServerProcess(tmp_path_factory.mktemp("photos") / "data", "apps/photos/template.yaml").start()
    try:
        yield eventually(lambda: next((m[1] for m in map(_page_line, list(running.lines)) if m), None), 120)
    finally:
        running.stop()


def _page_line(line: str) -> re.Match[str] | None:
    return re.match(r"\s+Page = (\S+)", line)


def sign_in(browser: Browser, url: str, name: str) -> tuple[Page, list[str]]:
    """A new person at the page, signed in with a new account, and what the browser complains of."""
    page = browser.new_context().new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()
    if page.get_by_role("link", name="Create an account").count():  # the first person is asked to at once
        page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("E-mail address").fill(f"{name.lower()}@example.com")
    page.get_by_label("Password").fill(f"{name} has a long password")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#live")).to_have_text("live", timeout=20_000)
    return page, complaints


def test_two_people_see_each_others_pictures_appear(browser: Browser, page_url: str, tmp_path: Path) -> None:
    ada, ada_complaints = sign_in(browser, page_url, "Ada")
    ben, ben_complaints = sign_in(browser, page_url, "Ben")
    expect(ada.locator("#empty")).to_be_visible()
    ada.locator("#files").set_input_files([PICTURES / "chelsea-the-cat.jpg", PICTURES / "hubble-deep-field.jpg"])
    for page in (ada, ben):
        expect(page.locator("#photos li")).to_have_count(2, timeout=30_000)
        image = page.locator("#photos li", has_text="chelsea-the-cat.jpg").locator("img")
        expect(image).to_be_visible(timeout=20_000)
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    expect(ada.locator("#uploads li")).to_have_count(2)
    expect(ada.locator("#uploads")).to_contain_text("ready")
    expect(ada.locator("#count")).to_contain_text("2 uploads", timeout=30_000)

    large = tmp_path / "clouds über dem Meer.bin"
    with large.open("wb") as file:
        file.truncate(60_000_000)
    ben.locator("#files").set_input_files(large)
    expect(ada.locator("#photos li", has_text="clouds")).to_contain_text("60 MB", timeout=40_000)

    ada.get_by_label("Find").fill("hubble")
    expect(ada.locator("#photos li")).to_have_count(1, timeout=20_000)
    expect(ada.locator("#photos li b")).to_have_text("hubble-deep-field.jpg")
    ada.get_by_label("Find").fill("nothing like it")
    expect(ada.locator("#empty")).to_have_text("Nothing matches.")
    if os.environ.get("SLUICEWAY_TEST_SCREENSHOTS"):
        ben.screenshot(path=f"{os.environ['SLUICEWAY_TEST_SCREENSHOTS']}/photos.png", full_page=True)

    ada.get_by_role("button", name="Sign out").click()
    expect(ada.locator("#welcome")).to_be_visible()
    assert not ada_complaints and not ben_complaints


def test_a_wrong_password_and_a_forged_token_are_refused(browser: Browser, page_url: str) -> None:
    page = browser.new_context().new_page()
    page.goto(page_url)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.get_by_label("E-mail address").fill("nobody@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto(page_url)
    page.evaluate("sessionStorage.setItem('token', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.')")
    page.reload()
    expect(page.locator("#problem")).to_contain_text("signed out")
