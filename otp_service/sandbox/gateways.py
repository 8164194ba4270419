"""Five of the plugin's gateway classes: each makes something else of the same provider (contract 3.1)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from secrets import randbelow, token_hex
from typing import TYPE_CHECKING, ClassVar

from otp_service.sandbox.php import Obj, Value, text
from otp_service.sandbox.provider import CurlError, Provider, Reply, Sms
from otp_service.sandbox.settings import SiteSettings

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

UNEXPECTED = (
    "Failed to send SMS. An unexpected error occurred."
    " Please try again or check your gateway settings."
)


class GatewayError(Exception):
    """A send the class calls failed; the words reach the caller as E1 400.

    `logged` is what the outbox keeps as the response; rows appear only if `has_row`, with the numbers
    as they were before the class touched them if it failed that `early`.
    """

    def __init__(
        self, words: str, logged: Value = None, *, has_row: bool = True, early: bool = False
    ) -> None:
        super().__init__(words)
        self.logged = logged
        self.has_row = has_row
        self.early = early


class CreditError(Exception):
    """The balance could not be asked for; the plugin goes on with `stand_in`."""

    def __init__(self, stand_in: Value) -> None:
        super().__init__("balance query failed")
        self.stand_in = stand_in


@dataclass
class Gateway:
    """Base of the classes: mobilemessage's ways, which most of the free ones share."""

    settings: SiteSettings
    provider: Provider
    now: Callable[[], datetime]
    """The site's local time."""
    name: ClassVar[str] = "mobilemessage"
    bulk: ClassVar[bool] = True

    def numbers(self, numbers: list[str]) -> list[str]:
        """Numbers in the provider's spelling, which the outbox will show too."""
        return numbers

    async def send(self, sms: Sms) -> Value:
        """The provider's answer as the class returns it; webhooks carry it as `api_response`."""
        if not (self.settings.gateway_username and self.settings.gateway_password and sms.sender):
            raise GatewayError(
                "Please enter the API username and password, and Sender number.", has_row=False
            )
        reply = await self._ask(sms)
        if reply.failed:
            answer = reply.decoded()
            words = answer.get("error") if isinstance(answer, dict) else answer
            words = f"Failed to get success response, {text(words)}"
            raise GatewayError(words, words)
        if not reply.ids:
            return reply.decoded()
        results = [
            Obj({"to": to, "status": "success", "message_id": message_id})
            for to, message_id in zip(sms.to, reply.ids, strict=True)
        ]
        return Obj({"status": "complete", "total_cost": len(results), "results": results})

    async def credit(self) -> Value:
        reply = await self._ask_balance()
        if reply.failed:
            raise CreditError(0)
        return reply.decoded()

    async def _ask(self, sms: Sms) -> Reply:
        try:
            return await self.provider.send(sms, self.name)
        except CurlError as error:
            raise GatewayError(str(error), str(error)) from None

    async def _ask_balance(self) -> Reply:
        try:
            return await self.provider.balance()
        except CurlError as error:
            return Reply(500, str(error))


class GatewayApi(Gateway):
    """Text credit with a currency; hands flash on; says nothing when refused."""

    name = "gatewayapi"

    async def send(self, sms: Sms) -> Value:
        reply = await self._ask(sms)
        if reply.failed:
            answer = reply.decoded()
            # The class looks for `message`, which this provider does not send.
            words = answer.get("message") if isinstance(answer, dict) else answer
            raise GatewayError(text(words), words)
        if not reply.ids:
            return reply.decoded()
        ids = [421_332_670 + int(one.rpartition("-")[2]) for one in reply.ids]
        return Obj({"ids": ids, "usage": Obj({"total_cost": 0.12})})

    async def credit(self) -> Value:
        reply = await self._ask_balance()
        if reply.failed:
            raise CreditError("0 ")
        return f"{text(reply.decoded())} EUR"


class SmsBox(Gateway):
    """Asks for the balance first and sends nothing without it; numbers go without plus."""

    name = "smsbox"

    def numbers(self, numbers: list[str]) -> list[str]:
        return [number.removeprefix("+") for number in numbers]

    async def send(self, sms: Sms) -> Value:
        balance = await self._ask_balance()
        if balance.failed:
            raise GatewayError(balance.body, balance.body, early=True)
        reply = await self._ask(sms)
        if reply.failed:
            raise GatewayError(reply.body, reply.body)
        if not reply.body:
            raise GatewayError(UNEXPECTED, "")
        if reply.ids:
            return '{"success": true, "message": "Message is queued", "code": "100"}'
        return reply.body


class Wali(Gateway):
    """Not bulk: the first number only, 200 all the same; errors without its own field count as sent."""

    name = "wali"
    bulk = False

    async def send(self, sms: Sms) -> Value:
        reply = await self._ask(Sms(sms.to, sms.message, None, sms.media, sms.flash))
        if reply.failed or not reply.ids:
            return reply.decoded()
        return Obj({"id": reply.ids[0], "status": "queued"})

    async def credit(self) -> Value:
        return not (await self._ask_balance()).failed


class Trial(Gateway):
    """The plugin's class `test`: sends nothing, takes media, invents an answer."""

    name = "test"

    async def send(self, sms: Sms) -> Value:
        body = {
            "action": "send-sms",
            "sender_id": sms.sender,
            "recipient": ",".join(sms.to),
            "message": sms.message,
        }
        params = {
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(body, separators=(",", ":")),
        }
        return {
            "success": True,
            "status": "sent",
            "message_id": f"sms_{token_hex(7)[:13]}",
            "from": sms.sender,
            "to": sms.to,
            "recipients": len(sms.to),
            "message": sms.message,
            "flash": sms.flash,
            "media": list(sms.media),
            "cost": f"{1 + randbelow(400) / 100:.2f} USD",
            "sent_at": str(self.now()),
            "error": None,
            "raw": {"params": params, "debug_id": 100_000 + randbelow(900_000)},
        }

    async def credit(self) -> Value:
        return "143 USD"


class NoGateway(Gateway):
    """The default class: nothing chosen, or the chosen class file is not there."""

    name = "default"
    bulk = False

    async def send(self, sms: Sms) -> Value:
        raise GatewayError("The SMS gateway in the plugin is not configured yet.", has_row=False)

    async def credit(self) -> Value:
        raise CreditError(0)


CLASSES: dict[str, type[Gateway]] = {
    one.name: one for one in (Gateway, GatewayApi, SmsBox, Wali, Trial)
}


def chosen(site: "Site") -> Gateway:
    """Make the class the settings name; an unknown name is silently the default (contract 3.1)."""
    gateway = CLASSES.get(site.settings.gateway_name, NoGateway)
    return gateway(site.settings, site.provider, site.local_time)
