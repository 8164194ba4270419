"""`otp-service callers policy`: rules of one caller that are tighter than the service's, and its own texts."""

from dataclasses import replace
from typing import Annotated

import typer

from otp_service.cli.audit import record
from otp_service.cli.caller_records import Name, change, existing
from otp_service.cli.configured import load_settings, refuse
from otp_service.core.audit import Act, Detail
from otp_service.core.caller_policy import CallerPolicy, CallerPolicyInvalid
from otp_service.core.caller_rules import RULES
from otp_service.core.message_lint import lint
from otp_service.core.messages import Catalogue
from otp_service.core.policy import Policy


def policy(
    name: Name,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"FIELD=VALUE, repeatable; of {', '.join(RULES)}."),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="FIELD to reset to the service's setting; repeatable.")
    ] = None,
) -> None:
    """
    Set and show the policy of one caller; docs/callers.md describes each field.

    Takes effect in every process within 5 seconds.
    """
    from otp_service.connections import load_catalogue

    settings = load_settings()
    known = existing(settings, name)
    texts = known.policy.texts()
    for field in unset or ():
        if texts.pop(field, None) is None:
            refuse([f"--unset {field}: {name} has {', '.join(texts) or 'no policy of its own'}"])
    for pair in set_ or ():
        field, equals, text = pair.partition("=")
        if not equals:
            refuse([f"--set {pair}: FIELD=VALUE"])
        texts[field.strip()] = text.strip()
    rules, catalogue = settings.policy(), load_catalogue(settings)
    try:
        own = CallerPolicy.read(texts)
        own.check(rules, available_locales=catalogue.locales)
    except CallerPolicyInvalid as error:
        refuse(error.lines)
    if set_ or unset:
        record(settings, Act.CALLER_POLICY_CHANGED, caller=name, details=_told(known.policy, own))
        change(settings, replace(known, policy=own))
    for field, text in own.texts().items():
        typer.echo(f"{field} = {text}")
    for finding in _findings(catalogue, own.tighten(rules)):
        typer.echo(f"warning: {finding}", err=True)


def _told(before: CallerPolicy, after: CallerPolicy) -> dict[Detail, str]:
    """Return what is different, for the audit log."""
    old, new = before.texts(), after.texts()
    put = [f"{field}={text}" for field, text in new.items() if old.get(field) != text]
    gone = [field for field in old if field not in new]
    told = {Detail.SET: "; ".join(put), Detail.UNSET: ", ".join(gone)}
    return {detail: text for detail, text in told.items() if text}


def _findings(catalogue: Catalogue, rules: Policy) -> list[str]:
    """Return which texts no longer fit one SMS with these digits, brand, origin and app."""
    found = lint(
        catalogue,
        digits=[rules.digits],
        brand=rules.brand or None,
        origin=rules.origin,
        app_hash=rules.app_hash,
        locales=rules.locales,
        purposes=rules.purposes & set(catalogue.purposes),
    )
    return [str(finding) for finding in found]
