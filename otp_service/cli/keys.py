"""`otp-service keys`: the ring of secret keys."""

from datetime import UTC, datetime

import typer

from otp_service.core import keyring

app = typer.Typer(no_args_is_help=True, help="The ring of secret keys.")


@app.callback()
def group() -> None:
    """The ring of secret keys."""


@app.command()
def generate() -> None:
    """Print a new ring with one active key of each kind, for the file named by OTP_KEYRING_FILE (mode 0600)."""
    typer.echo(
        keyring.generate(created_at=datetime.now(UTC).isoformat(timespec="seconds")), nl=False
    )
