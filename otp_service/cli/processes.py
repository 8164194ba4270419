"""What uvicorn's processes begin with, also those of `--workers`: they hold their metrics, and end by themselves."""

import os
import signal
import sys
from types import FrameType

import uvicorn

from otp_service.cli.metrics_directory import VARIABLE, hold


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


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
