"""Activation codes of the site (mode `wsms`): its answers and the person's attempts."""

from collections.abc import Callable
from contextlib import suppress

from otp_service.core.challenge import OptInAddress, Status, fingerprint
from otp_service.core.keyring import Keyring, Kind
from otp_service.errors import ChallengeExhausted, InvalidCode, RateLimited, Unavailable
from otp_service.services.subscriber_rows import Subscriber, refusal_of
from otp_service.store.opt_ins import OptIns, ReservedTry
from otp_service.wsms.errors import (
    NewsletterRefusal,
    NewsletterRefused,
    SiteDown,
    UnexpectedResponse,
    WsmsError,
)
from otp_service.wsms.newsletter import Newsletter

LIMIT = "site_codes"
_BUSY_SECONDS = 60  # of the site's 15 minutes, for a cause that the service cannot see


class SiteCodes:
    """
    Verifies codes at the site.

    From WSMS 7.2.6 on it refuses every code of a number for 15 minutes after ten wrong ones, the right one too. Its
    text may be translated, so the count kept here decides first: then the site is not asked, and no guess is judged
    without costing a try.
    """

    def __init__(
        self, *, keyring: Callable[[], Keyring], newsletter: Newsletter, opt_ins: OptIns
    ) -> None:
        self._keyring = keyring
        self._newsletter = newsletter
        self._opt_ins = opt_ins

    async def judge(
        self, address: OptInAddress, tried: ReservedTry, subscriber: Subscriber, activation: str
    ) -> None:
        """
        Let the site decide whether a code is right.

        Args:
            activation: What was typed.

        Raises:
            InvalidCode, ChallengeExhausted: it is not.
            RateLimited: The site refuses every code now; no try was spent.
            InvalidRequest, Unavailable.
        """
        code = self._fingerprint(tried.handle, activation)
        number = self._site_number(subscriber.mobile)
        if wait := await self._opt_ins.site_wait(number):
            await self._give_back(address, tried)
            raise RateLimited(LIMIT, wait)
        try:
            if tried.subscribed:
                raise NewsletterRefused(NewsletterRefusal.NOT_FOUND, "no code was sent")
            await self._newsletter.verify(
                name=subscriber.name,
                mobile=subscriber.mobile,
                activation=activation,
                group_id=subscriber.group_id,
            )
            with suppress(Unavailable):  # the code was right all the same
                await self._opt_ins.forget_site_codes(number)
        except NewsletterRefused as error:
            if error.reason is NewsletterRefusal.TOO_MANY_ATTEMPTS:
                # Others have typed wrong codes, or the site judged another code of the number at the same time.
                await self._give_back(address, tried)
                raise RateLimited(LIMIT, _BUSY_SECONDS) from None
            # Counted for who was subscribed before too, or the answers would tell a stranger who is.
            if tried.subscribed or error.reason is not NewsletterRefusal.NOT_FOUND:
                await self._opt_ins.count_site_code(number)
            if tried.unsure == code and error.reason is NewsletterRefusal.NOT_FOUND:
                return  # the try whose answer was lost had confirmed it: the site knows no pending row any more
            if tried.attempts_left > 0 and not tried.last_guess:
                raise InvalidCode(tried.attempts_left) from None
            ended_at = await self._opt_ins.settle(address, Status.EXHAUSTED, handle=tried.handle)
            raise ChallengeExhausted(ended_at or tried.requested_at) from None
        except SiteDown as error:
            if error.maybe_done:
                await self.settle_unsure(address, tried, activation)
            else:
                await self._give_back(address, tried)
            raise refusal_of(error) from None
        except UnexpectedResponse as error:
            await self.settle_unsure(address, tried, activation)
            raise refusal_of(error) from None
        except WsmsError as error:
            await self._give_back(address, tried)
            raise refusal_of(error) from None

    async def _give_back(self, address: OptInAddress, tried: ReservedTry) -> None:
        """Take the try back: the site has not judged the code. Raises Unavailable."""
        await self._opt_ins.settle(address, "unasked", handle=tried.handle, attempt=tried.attempt)

    async def settle_unsure(
        self, address: OptInAddress, tried: ReservedTry, activation: str
    ) -> None:
        """Write that the site may have taken this code. Raises Unavailable."""
        code = self._fingerprint(tried.handle, activation)
        await self._opt_ins.settle(address, "unsure", handle=tried.handle, code=code)

    def _site_number(self, e164: str) -> str:
        phone = self._keyring().active(Kind.PHONE)
        return fingerprint(phone, "opt-in-site-codes/v1", e164)

    def _fingerprint(self, handle: str, activation: str) -> str:
        name = self._keyring().active(Kind.NAME)
        return fingerprint(name, "opt-in-code/v1", handle, activation)
