"""
Logs and metrics, and what may be in them.

A log line is one JSON object on standard output. It may name a request, a caller, a challenge and a purpose; it never
holds a code, a number, a credential or a key. Metric labels are closed sets.
"""

import logging
import sys
from typing import TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

from otp_service.log_output import LogOutput

REQUESTS = Counter("otp_http_requests_total", "Answered requests.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "otp_http_request_seconds",
    "Time from a request's head to the end of its answer.",
    ("route",),
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 1, 2.5, 10, 30),
)
CONNECTIONS_CUT = Counter(
    "otp_http_connections_cut_total",
    "Connections closed by the service: full (over OTP_HTTP_CONNECTIONS), request (sent too slowly, or too large), "
    "response (not read).",
    ("reason",),
)
for _reason in ("full", "request", "response"):
    CONNECTIONS_CUT.labels(_reason)
CHALLENGES = Counter("otp_challenges_total", "Challenges opened and ended.", ("purpose", "event"))
REGIONS = Counter(
    "otp_region_codes_total",
    "Codes by the number's region: requested (resends included), approved, or paused (requested while the region was "
    "paused). "
    "Few approvals indicate SMS pumping.",
    ("region", "event"),
)
REGION_PAUSES = Counter(
    "otp_region_pauses_total",
    "Regions paused for a caller because few codes were approved, and resumed. With OTP_REGION_PAUSE=record no send is "
    "refused.",
    ("region", "event"),
)
DEVICES = Counter(
    "otp_devices_total",
    "Remembered devices: remembered, verified, forgotten, or reused (a token was copied, or its successor got lost).",
    ("event",),
)
REFUSALS = Counter("otp_refusals_total", "Refusals and faults by code.", ("code",))
DELIVERIES = Counter("otp_deliveries_total", "Settled deliveries.", ("channel", "status", "reason"))
DELIVERY_SECONDS = Histogram(
    "otp_delivery_seconds",
    "Time the provider took to answer.",
    ("channel",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
)
STEPS_BACK = Counter(
    "otp_redis_steps_back_total",
    "Detected steps back of Redis: emptied, lost (a restore, lost last writes), or clock (set back).",
    ("why",),
)
for _why in ("emptied", "lost", "clock"):
    STEPS_BACK.labels(_why)
STORE_EMPTIED = Gauge(
    "otp_store_emptied",
    "1 from the moment Redis comes back empty until an operator accepts the loss.",
    multiprocess_mode="mostrecent",  # each tick sets it; the value of an ended process must not stay
)
DROPPED_JOBS = Counter(
    "otp_jobs_dropped_total", "Delivery jobs dropped without a send.", ("reason",)
)
RECONCILED = Counter(
    "otp_deliveries_reconciled_total",
    "Unknown deliveries by their status in the site's outbox, or not_found.",
    ("status",),
)
SCRUBBED = Counter(
    "otp_outbox_scrubbed_total",
    "Codes in the site's outbox: deleted, not_found, in_doubt or given_up (the last two stay readable in WordPress).",
    ("outcome",),
)
OUTBOX_UNAVAILABLE = Counter(
    "otp_outbox_unavailable_total",
    "Times the site's outbox could not be read or changed.",
    ("why",),
)
CREDIT = Gauge(
    "otp_wsms_credit",
    "Last reported SMS credit, in the gateway's unit.",
    multiprocess_mode="mostrecent",
)
CREDIT_SEEN = Counter(
    "otp_wsms_credit_seen_total",
    "Credit reports of the site by kind: amount, doubtful (0 may be a failed query), text, unsupported or failed.",
    ("kind",),
)
WEBHOOK_HINTS = Counter(
    "otp_wsms_hints_total", "Deliveries of the site's own webhooks; unsigned hints.", ("event",)
)
WEBHOOKS = Counter(
    "otp_webhooks_total",
    "Messages to callers' endpoints: delivered, failed (will be retried), dead (given up), dropped (queue full).",
    ("outcome",),
)
WEBHOOKS_WAITING = Gauge(
    "otp_webhooks_waiting", "Messages that wait for an endpoint.", multiprocess_mode="mostrecent"
)
KEY_SET_FETCHES = Counter(
    "otp_key_set_fetches_total",
    "Fetches of the caller issuer's key set: good, away (unreachable), or unusable (the last good set stays in use).",
    ("outcome",),
)
HASHES = Counter("otp_hashes_total", "argon2id computations.", ("use",))
HASHES_WAITING = Gauge(
    "otp_hashes_waiting", "Hashes waiting or running in the hash pool.", multiprocess_mode="livesum"
)
BREAKER_OPEN = Gauge(
    "otp_channel_breaker_open",
    "1 while the circuit breaker of a channel is open.",
    ("channel",),
    multiprocess_mode="max",
)
CLOCK_SKEW = Gauge(
    "otp_clock_skew_seconds",
    "Redis' clock minus the process's. Beyond 5 in either direction, authenticator codes are refused.",
    multiprocess_mode="mostrecent",
)
FAILED_CHECKS = Gauge(
    "otp_check_failed",
    "1 while a check of the doctor, repeated each minute, fails, or (`site`) while calls to the WSMS site fail for a "
    "common reason; see `warnings` in /readyz.",
    ("check",),
    multiprocess_mode="livemax",
)
LOG_LINES_DROPPED = Counter(
    "otp_log_lines_dropped_total",
    "Log lines dropped: blocked (standard output is not read), failed (it is closed, or its disk full) or sampled "
    "(more than a hundred a minute of requests without a caller).",
    ("why",),
)

# Nobody waits for it. A closed one is None: its descriptor may be a connection's by now.
LOG_OUTPUT = LogOutput(
    1 if sys.__stdout__ is not None else None,
    lambda lines, why: LOG_LINES_DROPPED.labels(why).inc(lines),
)


def configure_logging(level: str = "INFO", *, lasting: bool = True) -> None:
    """
    Send every log of the process, ours and the libraries', to standard output as JSON lines.

    Args:
        level: The lowest that is written.
        lasting: Whether this holds until the process ends: a logger then asks only once how it is to write.
    """
    out = cast(TextIO, LOG_OUTPUT)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = [
        _without_colours,
        # Types and places only: a local variable or a message may hold what must not be written.
        _exception_without_values,
        structlog.processors.JSONRenderer(ensure_ascii=True),
    ]
    # Ours go straight there: by way of the standard library each line costs four times as much.
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=lasting,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True


def _without_colours(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Drop what uvicorn says a second time, for terminals."""
    event.pop("color_message", None)
    return event


def _exception_without_values(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        places, trace = [], error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(
                f"{code.co_filename.rpartition('site-packages/')[2]}:{trace.tb_lineno} {code.co_name}"
            )
            trace = trace.tb_next
        event["error"] = type(error).__name__
        event["at"] = places[-12:]
    return event
