"""
What uvicorn's processes begin with, also those of `--workers`: they hold their metrics, and end by themselves or with
their supervisor.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from types import FrameType

import uvicorn

from otp_service.cli.metrics_directory import VARIABLE, hold

DRAINED_BY_SECONDS = 10.0  # beyond OTP_DRAIN_SECONDS


class Config(uvicorn.Config):
    """
    uvicorn's settings; each process reads them first.

    When it has drained, uvicorn raises the signal that stopped it once more. By default that one ends the process there
    and then, its last log lines unwritten; a drained service has simply ended well.
    """

    def configure_logging(self) -> None:
        """What uvicorn calls here, and before anything else in each child."""
        super().configure_logging()
        hold(os.environ[VARIABLE])  # one of these may outlive the process that began it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        if supervisor := multiprocessing.parent_process():
            seconds = float(self.timeout_graceful_shutdown or 0) + DRAINED_BY_SECONDS
            threading.Thread(target=_end_with, args=(supervisor, seconds), daemon=True).start()


def _end_with(supervisor: BaseProcess, seconds: float) -> None:
    """
    Drain and end when the supervisor has ended, however it ended: without it nobody would replace or stop this process,
    and its port would stay taken.

    The supervisor holds the other end of a pipe, which closes with it. So nothing is missed, even if it ended before
    this thread began, and it needs no signal that only Linux has (PR_SET_PDEATHSIG).
    """
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    os._exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
