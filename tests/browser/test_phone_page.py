"""The sandbox's phone, as a developer sees it in a browser."""

import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.conftest import PASSWORD, Sandbox

pytestmark = pytest.mark.browser

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
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong unseen: no script error, no request to elsewhere."""
    context = browser.new_context()
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
    )
    assert answer.status_code == 200, answer.text


def test_a_message_appears_as_it_arrives_in_the_thread_of_its_number(
    page: Page, sandbox: Sandbox
) -> None:
    page.goto(sandbox.url)
    page.get_by_text("no real site").first.wait_for()

    send(sandbox, "+14155550123", "Acme: 042137 is your login code.")
    send(sandbox, "+989121234567", "کد ورود شما: 123456")

    page.get_by_text("+14155550123").first.wait_for()
    page.get_by_text("+989121234567").first.wait_for()
    page.get_by_text("123456").first.wait_for()


def test_a_message_is_text_and_never_markup(page: Page, sandbox: Sandbox) -> None:
    """J04: what a message says can do nothing to the page."""
    page.goto(sandbox.url)

    send(
        sandbox,
        "+14155550123",
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>",
    )

    page.get_by_text("onerror").first.wait_for()
    assert page.title() != "owned"
    assert page.locator("img").count() == 0


def test_the_outbox_page_shows_what_the_site_keeps(page: Page, sandbox: Sandbox) -> None:
    send(sandbox, "+14155550123", "Acme: 042137 is your login code.")

    page.goto(f"{sandbox.url}/outbox")

    page.get_by_text("042137").first.wait_for()
