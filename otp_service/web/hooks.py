"""`POST /hooks/wsms/{token}`: the site's own webhooks. The secret in the path is their only credential."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from otp_service.errors import NoSuchResource, OtpError
from otp_service.web import body
from otp_service.web.models import Noted
from otp_service.web.operations import refuse
from otp_service.web.service import Service

PATH = "/hooks/wsms/{token}"


async def take_hint(request: Request) -> Response:
    """Receive one webhook of the site. A wrong token gets the same 404 as an unknown path."""
    service: Service = request.state["service"]
    try:
        if not service.is_hook_token(request.path_params["token"]):
            raise NoSuchResource("see /openapi.json for what there is")
        await service.hints.take(request.headers, await body.raw(request))
    except OtpError as error:
        return refuse(error, request)
    return JSONResponse(Noted(status="noted").model_dump())
