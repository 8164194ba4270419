"""All routes of the namespace, in the order the plugin registers them.

Those that no client of ours needs are listed, so that the index is whole, and answer 501.
"""

from typing import TYPE_CHECKING

from otp_service.sandbox import (
    credit,
    dashboard,
    newsletter,
    outbox_routes,
    quick,
    send,
    webhooks,
)
from otp_service.sandbox.answers import Answer, plugin_error
from otp_service.sandbox.call import Call
from otp_service.sandbox.routing import Endpoint, Route
from otp_service.sandbox.users import OUTBOX, SEND, SETTING, SUBSCRIBERS
from otp_service.sandbox.validation import Arg, Args

if TYPE_CHECKING:
    from otp_service.sandbox.site import Site

ADMIN = "manage_options"
EDIT = ("POST", "PUT", "PATCH")


async def not_imitated(_: "Site", __: Call) -> Answer:
    return plugin_error("The sandbox lists this route, but does not imitate it.", 501)


def _listed(
    methods: tuple[str, ...], args: Args | None = None, capability: str = SETTING
) -> Endpoint:
    return Endpoint(methods, not_imitated, capability, args or {})


def _text(*names: str) -> Args:
    return {name: {"type": "string", "required": True} for name in names}


GROUP_FILTERS: Args = {
    "group_id": {"type": "integer"},
    "status": {"type": "string", "enum": ["active", "inactive", "all"]},
}
CHANGE_SUBSCRIBER: Args = {
    "name": {"type": "string"},
    "mobile": {"type": "string"},
    "group_id": {"type": ["integer", "array"]},
    "status": {"type": "string", "enum": ["0", "1"]},
    "custom_fields": {"type": "object"},
}
SUBSCRIBER_BULK: Args = {
    "action": {
        "type": "string",
        "enum": ["delete", "activate", "deactivate", "move"],
        "required": True,
    },
    "ids": {"type": "array", "required": True},
    "group_id": {"type": "integer"},
}
GROUP_BULK: Args = {
    "ids": {
        "type": "array",
        "items": {"type": "integer"},
        "description": "Array of group IDs to delete",
        "required": True,
    }
}
DISMISS: Args = {
    "id": {
        "type": "string",
        "description": 'Notification ID or "all" to dismiss all',
        "required": True,
    }
}
STORE: Arg = {"type": "string", "enum": ["static", "handler"], "required": True}

ROUTES: tuple[Route, ...] = (
    Route(
        "/newsletter",
        (
            Endpoint(("POST",), newsletter.subscribe, SUBSCRIBERS, newsletter.SUBSCRIBE_ARGS),
            Endpoint(("GET",), newsletter.listing, SUBSCRIBERS, newsletter.LIST_ARGS),
        ),
    ),
    Route(
        "/newsletter/unsubscribe",
        (Endpoint(("POST",), newsletter.unsubscribe, SUBSCRIBERS, newsletter.NUMBER_ARGS),),
    ),
    Route(
        "/newsletter/verify",
        (Endpoint(("POST",), newsletter.verify, SUBSCRIBERS, newsletter.VERIFY_ARGS),),
    ),
    Route("/send", (Endpoint(("POST",), send.send, SEND, send.ARGS),)),
    Route("/send/quick", (Endpoint(("POST",), quick.quick, SEND),)),
    Route("/send/count", (Endpoint(("POST",), quick.count, SEND),)),
    Route("/users/search", (Endpoint(("GET",), quick.search_users, SEND, quick.SEARCH_ARGS),)),
    Route(
        "/webhook",
        (
            Endpoint(("POST",), webhooks.subscribe, SETTING, webhooks.ARGS),
            Endpoint(("DELETE",), webhooks.unsubscribe, SETTING, webhooks.ARGS),
        ),
    ),
    Route("/credit", (Endpoint(("GET",), credit.credit, SETTING),)),
    Route("/settings", (_listed(("GET",)), _listed(("POST",)))),
    Route("/settings/gateways", (_listed(("GET",)),)),
    Route("/settings/gateway-capabilities", (_listed(("GET",)),)),
    Route("/settings/(?P<section>[a-zA-Z0-9_-]+)", (_listed(("GET",), _text("section")),)),
    Route("/settings/test-gateway", (Endpoint(("POST",), credit.gateway_test, SETTING),)),
    Route("/wizard/status", (_listed(("GET",)),)),
    Route("/wizard/complete", (_listed(("POST",)),)),
    Route(
        "/subscribers",
        (
            Endpoint(("GET",), dashboard.listing, SUBSCRIBERS, dashboard.LIST_ARGS),
            Endpoint(("POST",), dashboard.create, SUBSCRIBERS, dashboard.CREATE_ARGS),
        ),
    ),
    Route(
        r"/subscribers/(?P<id>\d+)",
        (
            Endpoint(("GET",), dashboard.single, SUBSCRIBERS),
            _listed(EDIT, CHANGE_SUBSCRIBER, SUBSCRIBERS),
            Endpoint(("DELETE",), dashboard.delete, SUBSCRIBERS),
        ),
    ),
    Route("/subscribers/bulk", (_listed(("POST",), SUBSCRIBER_BULK, SUBSCRIBERS),)),
    Route("/subscribers/export", (_listed(("GET",), GROUP_FILTERS, SUBSCRIBERS),)),
    Route(
        "/subscribers/import",
        (
            _listed(
                ("POST",),
                {
                    "group_id": {"type": "integer"},
                    "skip_duplicates": {"type": "string", "default": "1"},
                },
                SUBSCRIBERS,
            ),
        ),
    ),
    Route(
        "/groups",
        (
            Endpoint(("GET",), dashboard.groups, SUBSCRIBERS),
            Endpoint(("POST",), dashboard.add_group, SUBSCRIBERS, dashboard.GROUP_ARGS),
        ),
    ),
    Route("/groups/bulk", (_listed(("DELETE",), GROUP_BULK, SUBSCRIBERS),)),
    Route(
        r"/groups/(?P<id>\d+)",
        (
            _listed(("GET",), None, SUBSCRIBERS),
            _listed(EDIT, _text("name"), SUBSCRIBERS),
            _listed(("DELETE",), None, SUBSCRIBERS),
        ),
    ),
    Route("/outbox", (Endpoint(("GET",), outbox_routes.listing, OUTBOX, outbox_routes.LIST_ARGS),)),
    Route(
        r"/outbox/(?P<id>\d+)",
        (
            Endpoint(("GET",), outbox_routes.single, OUTBOX),
            Endpoint(("DELETE",), outbox_routes.delete, OUTBOX),
        ),
    ),
    Route(r"/outbox/(?P<id>\d+)/resend", (Endpoint(("POST",), outbox_routes.resend, SEND),)),
    Route(
        "/outbox/bulk",
        (Endpoint(("POST",), outbox_routes.bulk, OUTBOX, outbox_routes.BULK_ARGS),),
    ),
    Route(
        "/outbox/export",
        (Endpoint(("GET",), outbox_routes.export, OUTBOX, outbox_routes.FILTERS),),
    ),
    Route("/privacy/search", (_listed(("POST",), _text("mobile"), ADMIN),)),
    Route("/privacy/export", (_listed(("POST",), _text("mobile"), ADMIN),)),
    Route(
        "/privacy/delete",
        (
            _listed(
                ("POST",),
                {**_text("mobile"), "confirm": {"type": "boolean", "required": True}},
                ADMIN,
            ),
        ),
    ),
    Route("/notifications", (_listed(("GET",), None, ADMIN),)),
    Route("/notifications/dismiss", (_listed(("POST",), DISMISS, ADMIN),)),
    Route("/admin-notices/dismiss", (_listed(("POST",), {**_text("id"), "store": STORE}, ADMIN),)),
    Route("/admin-notices/modal-seen", (_listed(("POST",), _text("id"), ADMIN),)),
    Route(
        "/admin-notices/action",
        (_listed(("POST",), _text("id", "action_type", "option", "value"), ADMIN),),
    ),
    Route("/addons", (_listed(("GET",), None, ADMIN),)),
    Route(
        "/addons/activate-license", (_listed(("POST",), _text("license_key", "addon_slug"), ADMIN),)
    ),
    Route("/addons/remove-license", (_listed(("POST",), _text("addon_slug"), ADMIN),)),
)
