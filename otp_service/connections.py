"""What lies outside the process, opened as the settings say: Redis, the WordPress site, and the operator's texts."""

import os
from collections.abc import Callable
from pathlib import Path

from otp_service.core.messages import Catalogue, MessagesInvalid
from otp_service.settings.environment import SettingsError
from otp_service.settings.table import Settings
from otp_service.store.connection import Connection, Timeouts, connect
from otp_service.wsms.call_results import CallResult
from otp_service.wsms.client import WsmsClient


def open_redis(
    settings: Settings, *, name: str = "otp_service", block_seconds: float = 0
) -> Connection:
    """Return a connection with the settings' URL, times and size."""
    return connect(
        settings.redis_url.get_secret_value(),
        name=name,
        connections=settings.redis_connections,
        timeouts=Timeouts(command=settings.redis_timeout),
        block_seconds=block_seconds,
        url_now=settings.redis_url_now,
    )


def site_client(
    settings: Settings,
    *,
    pool_size: int = 4,
    on_result: Callable[[CallResult], None] = lambda _: None,
) -> WsmsClient:
    """Return a client of the settings' site, to be entered; see `WsmsClient` for `on_result`."""
    return WsmsClient(
        settings.wsms_url,
        settings.wsms_username,
        settings.wsms_application_password.get_secret_value(),
        deadline=settings.wsms_deadline,
        pool_size=pool_size,
        ca_file=settings.wsms_ca_file,
        on_result=on_result,
    )


def state_directory(settings: Settings) -> Path | None:
    """Return the directory that outlives Redis, made where it is missing. Raises SettingsError."""
    if settings.state_dir is not None:
        try:
            settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"OTP_STATE_DIR: {error.strerror}") from None
        if not os.access(settings.state_dir, os.W_OK | os.X_OK):
            raise SettingsError("OTP_STATE_DIR: the service may not write there")
    return settings.state_dir


def load_catalogue(settings: Settings) -> Catalogue:
    """
    Return the texts.

    Raises:
        SettingsError: the operator's own can't be used, or the default locale has none.
    """
    try:
        catalogue = Catalogue.load(settings.messages_dir, purposes=settings.purposes)
    except MessagesInvalid as error:
        raise SettingsError(
            *(f"OTP_MESSAGES_DIR: {finding}" for finding in error.findings)
        ) from None
    if settings.locale not in catalogue.locales:
        raise SettingsError(f"OTP_LOCALE: there are texts for {', '.join(catalogue.locales)}")
    return catalogue
