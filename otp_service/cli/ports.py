"""Listening sockets that are bound before a child process starts, and who holds a port that is taken."""

import contextlib
import socket
from pathlib import Path


class PortTaken(RuntimeError):
    """Somebody else listens there; the message says who, if that can be told."""


def listen(port: int, *, what: str, variable: str) -> socket.socket:
    """
    Return a socket that listens on loopback and that a child may inherit. Port 0 picks a free one.

    Raises:
        PortTaken: names the port, its holder where it can be told, and the variable that changes it.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        holder = _holder(port)
        by = f" by {holder}" if holder else ""
        raise PortTaken(
            f"port {port} for {what} is taken{by} ({error.strerror}); choose another: make run {variable}=0"
        ) from None
    listening.set_inheritable(True)
    return listening


def _holder(port: int) -> str | None:
    """Return the name and pid of who listens on the port, where /proc tells us."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None
