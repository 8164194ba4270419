"""People who log in all the time, over two processes, while the ring is changed under them."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pyotp
from joserfc import jws
from joserfc.jwk import KeySet

from tests.conftest import Sandbox, code_in
from tests.reliability.harness import Process, eventually, number

Flow = Callable[[], Awaitable[None]]


class Load:
    """
    Flows that run side by side, each over both processes; an answer that is not the right one ends the test.

    Attributes:
        done: How often each flow has come to its end.
    """

    def __init__(
        self, processes: list[Process], sandbox: Sandbox, credential: dict[str, str]
    ) -> None:
        self._clients = [
            httpx.AsyncClient(base_url=process.url, headers=credential, timeout=120)
            for process in processes
        ]
        self._site = httpx.AsyncClient(base_url=sandbox.url, timeout=120)
        self._turns = itertools.count()
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._rounds: Counter[int] = Counter()
        self.done: Counter[str] = Counter()

    @property
    def http(self) -> httpx.AsyncClient:
        """The processes by turns."""
        return self._clients[next(self._turns) % len(self._clients)]

    def use(self, credential: dict[str, str]) -> None:
        for client in self._clients:
            client.headers.update(credential)

    async def post(self, path: str, expected: int = 200, **more: Any) -> dict[str, Any]:
        headers = more.pop("headers", None)
        answer = await self.http.post(path, json=more, headers=headers)
        assert answer.status_code == expected, (path, answer.status_code, answer.text)
        return dict(answer.json())

    # --- What people do ----------------------------------------------------------------------------------------------

    async def request(self, **more: Any) -> tuple[dict[str, Any], str]:
        """Return a challenge whose code has been sent, and that code."""
        to = number(next(self._numbers))
        headers = {"Prefer": "wait=30"}
        challenge = await self.post(
            "/otp/request", 202, headers=headers, to=to, purpose="login", **more
        )
        assert challenge["delivery"]["status"] == "accepted", challenge
        return challenge, await self.code(to)

    async def code(self, to: str) -> str:
        """Wait until the phone of that number has one."""

        async def messages() -> Any:
            return (await self._site.get("/sandbox/messages", params={"to": to})).json()["messages"]

        return code_in((await eventually(messages, f"a code for {to}"))[0]["message"])

    async def verify(self, challenge: dict[str, Any], code: str, **more: Any) -> dict[str, Any]:
        sent = {"challenge_id": challenge["challenge_id"], "code": code, "purpose": "login"}
        return await self.post("/otp/verify", **sent, **more)

    async def enroll(self, subject: str) -> tuple[str, pyotp.TOTP]:
        """With the code of the step before, so that the present one is left; again where a step begins in between."""
        made = await self.post("/factors/totp", 201, subject=subject, account_name="a")
        totp = pyotp.TOTP(made["secret"])
        path = f"/factors/totp/{made['factor_id']}/confirm"
        while True:
            step = int(time.time()) // totp.interval - 1
            answer = await self.http.post(path, json={"code": totp.generate_otp(step)})
            if answer.status_code == 200:
                return made["factor_id"], totp
            assert int(time.time()) // totp.interval - 1 > step, answer.text

    async def recover(self, subject: str, code: str) -> int:
        """Return how many codes are left."""
        spent = {"subject": subject, "code": code, "purpose": "recovery"}
        return int((await self.post("/recovery-codes/verify", **spent))["remaining"])

    async def log_in(self) -> None:
        challenge, code = await self.request(binding="tab")
        verified = await self.verify(challenge, code, binding="tab")
        proven = await self.post("/proofs/introspect", proof=verified["proof"], binding="tab")
        assert proven["active"] is True
        self.done["log_in"] += 1

    async def use_an_app(self) -> None:
        subject = f"app-{next(self._numbers)}"
        factor_id, _ = await self.enroll(subject)
        found = await self.http.get("/factors", params={"subject": subject})
        assert [f["factor_id"] for f in found.json()["factors"]] == [factor_id]
        gone = await self.http.delete(f"/factors/{factor_id}")
        assert gone.status_code == 204, gone.text
        self.done["use_an_app"] += 1

    async def opt_in(self) -> None:
        """The receipt can be checked with what the other process publishes."""
        who = {"name": "Ann", "mobile": number(next(self._numbers))}
        await self.post("/optin/request", 202, **who)
        activation = await self.code(who["mobile"])
        receipt = (await self.post("/optin/verify", **who, activation=activation))["receipt"]
        keys = KeySet.import_key_set((await self.http.get("/.well-known/jwks.json")).json())
        jws.deserialize_compact(receipt, keys, algorithms=["ES256"])
        self.done["opt_in"] += 1

    # --- Going on and on ---------------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """Wait until all that runs now has ended, and once more: by then every process has read the ring."""
        before = dict(self._rounds)
        since = time.monotonic()
        while True:
            for task in self._tasks:
                if task.done():
                    task.result()
            rounds = [self._rounds[i] - before.get(i, 0) for i in range(len(self._tasks))]
            if min(rounds) >= 2 and time.monotonic() - since > READ_SECONDS:
                return
            await asyncio.sleep(0.01)

    async def _go_on(self, which: int, flow: Flow) -> None:
        while True:
            await flow()
            self._rounds[which] += 1

    @asynccontextmanager
    async def running(self, *flows: Flow) -> AsyncIterator["Load"]:
        self._tasks = [asyncio.create_task(self._go_on(i, f)) for i, f in enumerate(flows)]
        try:
            await self.turn()
            yield self
            await self.turn()
        finally:
            for task in self._tasks:
                task.cancel()
            ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in ended:
            if isinstance(one, Exception):
                raise one

    async def close(self) -> None:
        for client in (*self._clients, self._site):
            await client.aclose()


RELOAD_SECONDS = 0.1
READ_SECONDS = 3 * RELOAD_SECONDS
