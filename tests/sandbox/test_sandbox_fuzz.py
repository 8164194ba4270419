"""Whatever is sent, the sandbox answers as a site would: it imitates crashes, and never has one."""

import asyncio
import base64
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_sites import PASSWORD, Clock, accounts

from otp_service.sandbox.app import create_app
from otp_service.sandbox.routes import ROUTES
from otp_service.sandbox.site import Site

NAMES = sorted({name for route in ROUTES for one in route.endpoints for name in one.args})
CALLS = [
    (method, route.path.replace(r"(?P<id>\d+)", "1").replace("(?P<section>[a-zA-Z0-9_-]+)", "x"))
    for route in ROUTES
    for one in route.endpoints
    for method in one.methods
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["numbers", "subscribers", "users", "roles", "+447700900001", "1", "0", "[1]"]),
    st.sampled_from(["2030-01-01T10:00:00", "new_sms", "https://a.example/", "asc", "delete"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
BODIES = st.dictionaries(st.sampled_from([*NAMES, "users", "recipients"]), VALUES, max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=st.sampled_from(CALLS), body=BODIES, opt_in=st.booleans())
def test_no_body_breaks_the_sandbox_itself(
    call: tuple[str, str], body: dict[str, Any], opt_in: bool
) -> None:
    clock = Clock()
    site = Site(users=accounts(), groups=("Staff",), now=clock.now, sleep=clock.sleep)
    site.settings.newsletter_form_verify = opt_in
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()

    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(site, hosts=["s"]))
        async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
            return await client.request(
                call[0],
                f"/wp-json{call[1]}",
                json=body,
                headers={"Authorization": f"Basic {token}"},
            )

    response = asyncio.run(exchange())
    answer = response.json()
    if response.status_code >= 400:
        assert set(answer) in (
            {"error"},
            {"code", "message", "data"},
            {*answer, "additional_errors"},
        )
    assert response.status_code in (200, 201, 400, 403, 404, 500, 501)
