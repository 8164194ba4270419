"""The whole state of one stand-in site, in memory: settings, accounts, phones, outbox, subscribers, faults."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, tzinfo
from secrets import randbelow
from zoneinfo import ZoneInfo

from otp_service.sandbox.faults import Fault, Faults
from otp_service.sandbox.outbox import Outbox
from otp_service.sandbox.phone import Phone
from otp_service.sandbox.php import Value
from otp_service.sandbox.provider import Provider, Sms
from otp_service.sandbox.settings import SiteSettings
from otp_service.sandbox.subscribers import Subscribers
from otp_service.sandbox.throttle import Throttle
from otp_service.sandbox.translations import translated
from otp_service.sandbox.users import User, Users, default_user
from otp_service.sandbox.webhooks import Deliver, deliver_over_http

QUEUE_CAPACITY = 1_000


def utc_now() -> datetime:
    return datetime.now(UTC)


class Site:
    """A WordPress site with WSMS, and the world around it.

    `now`, `sleep` and `draw_code` are arguments so that tests move time and know codes without waiting
    or patching; `deliver` makes the HTTP calls to webhook receivers.
    """

    def __init__(
        self,
        settings: SiteSettings | None = None,
        *,
        users: Iterable[User] | None = None,
        groups: Iterable[str] = (),
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw_code: Callable[[], int] = lambda: 1000 + randbelow(9000),
        deliver: Deliver = deliver_over_http,
    ) -> None:
        self._initial = (settings or SiteSettings()).model_copy(deep=True)
        self._groups = list(groups)
        self.now = now
        self.sleep = sleep
        self.draw_code = draw_code
        self.deliver = deliver
        self.users = Users([default_user()] if users is None else users)
        self.closing = asyncio.Event()
        self.phone = Phone(now)
        self.reset()

    def reset(self) -> None:
        """Back to how it was made; accounts keep their passwords."""
        self.settings = self._initial.model_copy(deep=True)
        self.faults = Faults()
        self.outbox = Outbox()
        self.subscribers = Subscribers(self._groups)
        self.throttle = Throttle(self.now)
        self.webhooks: dict[str, list[str]] = {"new_sms": [], "new_subscriber": []}
        self.provider = Provider(self)
        self.stored_credit: Value = False
        """What the last send left behind; /credit never asks the provider (contract 3.6)."""
        self.queue: deque[Sms] = deque(maxlen=QUEUE_CAPACITY)
        """Messages waiting for WP-Cron: background delivery does not work here (contract 3.1, quirk 3)."""
        self.phone.forget()

    def configure(self, **changes: Value) -> None:
        """Settings that a reset keeps, as if the site had been made with them."""
        for name, value in changes.items():
            setattr(self._initial, name, value)
            setattr(self.settings, name, value)

    def break_with(self, *faults: Fault) -> None:
        """The faults from now on, in place of any before."""
        self.faults.replace(faults)

    def say(self, text: str) -> str:
        """One of the plugin's texts, in the site's language."""
        return translated(text, self.settings.locale)

    @property
    def zone(self) -> tzinfo:
        return UTC if self.settings.timezone == "UTC" else ZoneInfo(self.settings.timezone)

    def local_time(self) -> datetime:
        """Whole seconds in the site's zone, without saying which: as the outbox keeps times."""
        return self.now().astimezone(self.zone).replace(tzinfo=None, microsecond=0)

    def close(self) -> None:
        """Ends streams and hanging answers, so that a server can stop."""
        self.closing.set()
