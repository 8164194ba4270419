"""WordPress users, their application passwords and the plugin's capabilities (contract 2.2)."""

import base64
import binascii
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, field

SEND, SUBSCRIBERS, OUTBOX, SETTING = (
    "wpsms_sendsms",
    "wpsms_subscribers",
    "wpsms_outbox",
    "wpsms_setting",
)
CAPABILITIES = (SEND, SUBSCRIBERS, OUTBOX, SETTING)


@dataclass
class User:
    """One WordPress account. `administrator` has every capability once the plugin has granted them."""

    login: str
    email: str = ""
    role: str = "otp_sender"
    capabilities: set[str] = field(default_factory=set)
    application_passwords: list[str] = field(default_factory=list)
    """In WordPress' display form or without its spaces."""
    mobile: str | None = None
    id: int = 0


def generate_application_password() -> str:
    """24 letters and digits in six groups of four, as WordPress shows them."""
    letters = string.ascii_letters + string.digits
    return " ".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(6))


def default_user(login: str = "otp", application_password: str | None = None) -> User:
    """The account of `otp-service dev`: every capability the service can make use of."""
    return User(
        login=login,
        email=f"{login}@sandbox.invalid",
        capabilities=set(CAPABILITIES),
        application_passwords=[application_password or generate_application_password()],
    )


class Users:
    """The accounts of the site, numbered from 1 in the order given."""

    def __init__(self, users: Iterable[User]) -> None:
        self._by_login: dict[str, User] = {}
        for user in users:
            self.add(user)

    def add(self, user: User) -> None:
        user.id = user.id or len(self._by_login) + 1
        self._by_login[user.login] = user

    def all(self) -> list[User]:
        return list(self._by_login.values())

    def get(self, login: str) -> User | None:
        return self._by_login.get(login)

    def by_id(self, user_id: int) -> User | None:
        return next((user for user in self.all() if user.id == user_id), None)

    def find(self, name: str) -> User | None:
        """By login name or e-mail: WordPress takes both."""
        return self.get(name) or next((u for u in self.all() if u.email and u.email == name), None)

    def authenticate(self, authorization: str | None) -> "User | str | None":
        """The user, or the code of what is wrong, or None when nothing usable was said.

        The code shows only on sites where another plugin asks early (contract 2.2).
        """
        credentials = _basic(authorization)
        if credentials is None:
            return None
        name, password = credentials
        user = self.find(name)
        if user is None:
            return "invalid_email" if "@" in name else "invalid_username"
        given = _bare(password)
        for known in user.application_passwords:
            if given and hmac.compare_digest(given.encode(), _bare(known).encode()):
                return user
        return "incorrect_password"


def _bare(password: str) -> str:
    """WordPress drops whatever is not a letter or digit, so display spaces may stay."""
    return re.sub(r"[^A-Za-z0-9]", "", password)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, found, password = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if found else None
