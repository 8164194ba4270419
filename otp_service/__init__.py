"""Self-hosted second factor: one-time codes over WSMS, hashed in Redis, accepted once."""

from importlib.metadata import version

__version__ = version("otp-service")
