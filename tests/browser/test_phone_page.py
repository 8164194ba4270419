"""The sandbox's phone, as a developer sees it in a browser."""

import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.conftest import PASSWORD, Sandbox

pytestmark = pytest.mark.browser

PATIENCE_MS = 120_000  # a busy machine shows pages late
expect.set_options(timeout=PATIENCE_MS)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert path is not None, "the browser tests need chromium; see .ci/run"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong unseen: no script error, no request to elsewhere."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    page.on("console", note)
    yield page
    context.close()
    assert wrong == []


def send(sandbox: Sandbox, to: str, message: str) -> None:
    answer = httpx.post(
        f"{sandbox.url}/wp-json/wpsms/v1/send",
        json={"sender": "Acme", "recipients": "numbers", "numbers": [to], "message": message},
        auth=("otp", PASSWORD),
        timeout=60,
    )
    assert answer.status_code == 200, answer.text


def test_a_message_appears_as_it_arrives_in_the_thread_of_its_number(
    page: Page, sandbox: Sandbox
) -> None:
    page.goto(sandbox.url)
    expect(page.get_by_role("note")).to_contain_text("no real site")

    send(sandbox, "+14155550123", "Acme: 042137 is your login code.")
    send(sandbox, "+989121234567", "کد ورود شما: 123456")

    threads = page.locator("#threads .number")
    expect(threads).to_have_text(["+989121234567", "+14155550123"])
    expect(page.locator("#thread-title")).to_have_text("+989121234567")
    expect(page.locator("#latest-code")).to_have_text("123456")
    expect(page.locator("#bubbles .text")).to_have_text(["کد ورود شما: 123456"])

    page.get_by_role("button", name="+14155550123").click()

    expect(page.locator("#thread-title")).to_have_text("+14155550123")
    expect(page.locator("#latest-code")).to_have_text("042137")
    expect(page.locator("#bubbles .text")).to_have_text(["Acme: 042137 is your login code."])


def test_a_message_is_text_and_never_markup(page: Page, sandbox: Sandbox) -> None:
    """J04: what a message says can do nothing to the page."""
    page.goto(sandbox.url)

    send(
        sandbox,
        "+14155550123",
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>",
    )

    expect(page.locator("#bubbles .text")).to_contain_text("onerror")
    assert page.title() != "owned"
    assert page.locator("img").count() == 0


def test_the_outbox_page_shows_what_the_site_keeps(page: Page, sandbox: Sandbox) -> None:
    send(sandbox, "+14155550123", "Acme: 042137 is your login code.")

    page.goto(f"{sandbox.url}/outbox")

    expect(page.locator("#outbox-count")).to_have_text("1")
    [row] = page.locator("#outbox tr").all()
    [number, _, to, sender, message, status, _] = row.get_by_role("cell").all_inner_texts()
    assert (number, to, sender) == ("1", "+14155550123", "Acme")
    assert (message, status) == ("Acme: 042137 is your login code.", "success")
    expect(page.locator("#subscribers-empty")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/outbox"])
def test_on_a_narrow_screen_nothing_has_to_be_pushed_aside_to_be_read(
    page: Page, sandbox: Sandbox, path: str
) -> None:
    send(sandbox, "+14155550123", "Acme: " + "https://example.com/longpath" * 8 + " 042137")
    page.set_viewport_size({"width": 390, "height": 844})

    page.goto(f"{sandbox.url}{path}")

    words = page.locator("#bubbles .text, #outbox .words, #outbox .tag")
    expect(words.first).to_be_visible()
    for box in (each.bounding_box() for each in words.all()):
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
