"""The issuer of callers' tokens: whether its keys can be had."""

from otp_service.channels.key_set import JwksUnavailable, KeySetSource
from otp_service.core.issuer_keys import KeySetUnusable, read_key_set
from otp_service.doctor.finding import Finding
from otp_service.settings.table import Settings


async def inspect_issuer(settings: Settings) -> list[Finding]:
    """Return whether the keys of callers' issuer can be fetched now; nothing without an issuer."""
    if settings.caller_jwks_url is None:
        return []
    source = KeySetSource(settings.caller_jwks_url, ca_file=settings.caller_jwks_ca_file)
    what = "OTP_CALLER_JWKS_URL"
    try:
        found = read_key_set(await source.fetch())
    except (JwksUnavailable, KeySetUnusable) as error:
        return [Finding("warn", what, f"no keys to check callers' tokens by: {error}")]
    allowed = {name for key in found.values() for name in key.algorithms}
    if not allowed & settings.caller_algorithms:
        told = f"its keys are for {', '.join(sorted(allowed))}: see OTP_CALLER_ALGORITHMS"
        return [Finding("warn", what, told)]
    return [Finding("ok", what, f"keys of the issuer: {len(found)}")]
