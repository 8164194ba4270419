"""The key ring as it is now: its file is read again when it has changed, so keys are rotated without a restart."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from otp_service.core.keyring import Keyring, KeyringError, Kind

log = structlog.get_logger()


class ReloadingKeyring:
    """
    A callable that returns the current key ring.

    A file that can't be used is reported, and the last good ring stays in use: a slip of an editor locks nobody out.
    A ring with another `name` key is no rotation, since that key is never rotated: under it no caller and no person
    would be found, so it is refused in the same way.

    Attributes:
        trouble: Why the file is not in use as it is now; None when it is.

    Args:
        ring: The one to begin with.
        file: Where it was read from, or None: then it never changes.
        look_seconds: How long a change of the file may go unseen.
        clock: Any steady clock, seconds.
    """

    def __init__(
        self,
        ring: Keyring,
        file: Path | None,
        *,
        look_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ring = ring
        self._file = file
        self._look_seconds = look_seconds
        self._clock = clock
        self._looked_at = clock()
        self._seen = _stamp(file)
        self.trouble: str | None = None

    def __call__(self) -> Keyring:
        """Return the ring; look at its file if that was not done for some seconds."""
        now = self._clock()
        if self._file is not None and now - self._looked_at >= self._look_seconds:
            self._looked_at = now
            stamp = _stamp(self._file)
            if stamp != self._seen:
                self._seen = stamp
                self._read(self._file)
        return self._ring

    def _read(self, file: Path) -> None:
        try:
            ring = Keyring.from_json(file.read_text("utf-8"))
            if ring.active(Kind.NAME) != self._ring.active(Kind.NAME):
                raise KeyringError(
                    "its `name` key is another one: this is the ring of another installation"
                )
        except KeyringError as error:
            self._refuse(str(error))
            log.warning("keyring.refused", reason=str(error))
        except (OSError, UnicodeDecodeError) as error:
            self._refuse(f"it can't be read ({type(error).__name__})")
            log.warning("keyring.unreadable", error=type(error).__name__)
        else:
            self._ring, self.trouble = ring, None
            log.info("keyring.read", ring=repr(self._ring))

    def _refuse(self, reason: str) -> None:
        self.trouble = (
            f"OTP_KEYRING_FILE is not in use as it is now, the ring read before it is: {reason}"
        )


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None
