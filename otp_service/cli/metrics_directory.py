"""
Where the processes of one service count what its admin port sums up: a directory that goes with the last of them.

Each of them holds a lock on it, which ends with the process however that ends. So what nobody holds is left over, and
the next service of the same user takes it away. Process ids would not do: another container's are not seen here.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED = Path("/dev/shm")  # noqa: S108
PREFIX = "otp-service-metrics-"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def metrics_directory() -> Iterator[None]:
    """
    Name a new directory in the environment, for prometheus_client, which looks there once: when it is imported.

    In memory where there is a place for it: writing to a mapped file on a full disk ends the process (SIGBUS).
    """
    place = SHARED if os.access(SHARED, os.W_OK) else Path(tempfile.gettempdir())
    remove_abandoned(place, owner=os.geteuid())
    with _held_directory(place) as directory:
        os.environ[VARIABLE] = directory
        yield


def hold(directory: str) -> int:
    """Keep a directory from being taken for abandoned until the descriptor is closed or the process ends."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with contextlib.suppress(OSError):  # no locks there: then none is ever found without a holder
        fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def remove_abandoned(place: Path, *, owner: int) -> None:
    """Remove the directories of this user there whose processes are all gone."""
    for found in place.glob(PREFIX + "*"):
        # Also when another service looks at the same time. What is a link, or no directory, is not ours.
        with contextlib.suppress(OSError):
            fd = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_uid == owner:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(found)
            finally:
                os.close(fd)


@contextmanager
def _held_directory(place: Path) -> Iterator[str]:
    while True:
        with tempfile.TemporaryDirectory(
            prefix=PREFIX, dir=place, ignore_cleanup_errors=True
        ) as directory:
            try:
                fd = hold(directory)
            except FileNotFoundError:
                continue  # taken for abandoned before it was held
            try:
                if os.path.isdir(directory):
                    yield directory
                    return
            finally:
                os.close(fd)
