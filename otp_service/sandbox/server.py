"""Running the stand-in site by uvicorn, on an address or on a socket that is already there."""

import ipaddress
import os
import socket
from collections.abc import Collection
from types import FrameType

import uvicorn

from otp_service.sandbox.app import create_app
from otp_service.sandbox.site import Site

GRACE = 3
"""Seconds for responses in flight at shutdown."""


class Server(uvicorn.Server):
    """Ends the phone page's streams and hanging answers first, so that stopping takes no time."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._site.close()


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket on this address; port 0 picks a free one. OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def inherited(fd: int) -> socket.socket:
    """The parent's bound socket, whose family is asked of the kernel rather than assumed."""
    return socket.socket(fileno=os.dup(fd))


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(site: Site, listening: socket.socket, *, hosts: Collection[str] = ()) -> None:
    """Until SIGINT or SIGTERM. The site learns its own address from the socket. `hosts`: see `create_app`."""
    site.configure(url=url_of(listening))
    config = uvicorn.Config(
        create_app(site, hosts=hosts),
        access_log=False,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=GRACE,
        server_header=False,
    )
    Server(config, site).run(sockets=[listening])
