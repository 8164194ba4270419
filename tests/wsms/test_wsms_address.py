"""Every spelling of a site's address leads to the same calls; unsafe ones are refused by name."""

import base64

import pytest

from otp_service.wsms import WsmsClient, WsmsConfigurationError
from otp_service.wsms.address import SiteAddress


@pytest.mark.parametrize(
    ("url", "call"),
    [
        ("https://example.org", "https://example.org/wp-json/wpsms/v1/send"),
        ("https://example.org/", "https://example.org/wp-json/wpsms/v1/send"),
        (" https://example.org/wp-json ", "https://example.org/wp-json/wpsms/v1/send"),
        ("https://example.org/wp-json/", "https://example.org/wp-json/wpsms/v1/send"),
        ("https://example.org/blog", "https://example.org/blog/wp-json/wpsms/v1/send"),
        ("https://example.org:8443", "https://example.org:8443/wp-json/wpsms/v1/send"),
        (
            "https://example.org/?rest_route=/",
            "https://example.org/?rest_route=/wpsms/v1/send",
        ),
        ("https://example.org?rest_route=", "https://example.org/?rest_route=/wpsms/v1/send"),
        (
            "https://example.org/blog/index.php?rest_route=/",
            "https://example.org/blog/index.php?rest_route=/wpsms/v1/send",
        ),
        ("http://localhost:8025", "http://localhost:8025/wp-json/wpsms/v1/send"),
        ("http://127.0.0.1:8025", "http://127.0.0.1:8025/wp-json/wpsms/v1/send"),
        ("http://[::1]:8025", "http://[::1]:8025/wp-json/wpsms/v1/send"),
    ],
)
def test_all_spellings_work(url: str, call: str) -> None:
    assert SiteAddress(url).call("/send") == call


def test_a_plus_is_encoded_in_queries() -> None:
    """An unencoded plus silently becomes another number (contract 2.3)."""
    query = {"search": "+44 7700 & more"}

    assert (
        SiteAddress("https://a.example")
        .call("/outbox", query)
        .endswith("/outbox?search=%2B44%207700%20%26%20more")
    )
    assert (
        SiteAddress("https://a.example/?rest_route=/")
        .call("/outbox", query)
        .endswith("?rest_route=/wpsms/v1/outbox&search=%2B44%207700%20%26%20more")
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org", "https"),
        ("http://127.0.0.1.example.org", "https"),
        ("http://localhost.example.org", "https"),
        ("http://10.0.0.5", "https"),
        ("example.org", "URL"),
        ("", "URL"),
        ("https://", "URL"),
        ("https://[::1", "URL"),
        ("https://example.org:port", "URL"),
        ("ftp://example.org", "URL"),
        ("file:///etc/passwd", "URL"),
        ("https://user:secret@example.org", "user name"),
        ("https://example.org/#top", "fragment"),
        ("https://example.org/?page=1", "rest_route"),
        ("https://example.org/?rest_route=/&page=1", "rest_route"),
        ("https://example.org/a b", "blanks"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused_and_says_why(url: str, reason: str) -> None:
    with pytest.raises(WsmsConfigurationError, match=reason) as caught:
        WsmsClient(url, "otp", "password")

    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("username", "password"),
    [("", "p"), ("a:b", "p"), ("a\nb", "p"), ("otp", ""), ("otp", "  "), ("otp", "hunter2\r\n")],
)
def test_a_credential_that_cannot_be_right_is_refused_without_repeating_it(
    username: str, password: str
) -> None:
    with pytest.raises(WsmsConfigurationError) as caught:
        WsmsClient("https://example.org", username, password)

    assert "hunter2" not in str(caught.value)


def test_repr_shows_no_secret() -> None:
    client = WsmsClient("https://example.org", "otp-user", "hunter2")

    assert repr(client) == "<WsmsClient https://example.org/wp-json/>"
    for part in (
        client._calls,
        client._calls.wire,
        client._calls.wire._headers,
        client.outbox,
    ):
        assert "hunter2" not in repr(part)
        assert base64.b64encode(b"otp-user:hunter2").decode() not in repr(part)


@pytest.mark.parametrize(
    ("address", "readme"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/blog/wp-json/", "https://a.example/blog"),
        ("https://a.example/?rest_route=/", "https://a.example"),
        ("https://a.example/blog/index.php?rest_route=/", "https://a.example/blog"),
    ],
)
def test_the_readme_lies_beside_the_api(address: str, readme: str) -> None:
    assert SiteAddress(address).readme() == f"{readme}/wp-content/plugins/wp-sms/readme.txt"
