"""
What an operator sets for one caller: rules tighter than the service's, and what messages of its own say.

Written and kept as texts by field, such as `digits: "8"`. A value that would loosen is refused when it is set; when the
service's own settings become tighter later, the tighter of the two holds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from otp_service.core.caller_rules import RULES
from otp_service.core.limits import Window
from otp_service.core.policy import Policy


class CallerPolicyInvalid(ValueError):
    """It can't be one. Each line names a field and says why."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicy:
    """
    One caller's own rules; None: the service's. The fields are those of `Policy`.

    `locale`, `brand`, `sender`, `origin` and `app_hash` are what its messages say; all others only tighten.
    """

    purposes: frozenset[str] | None = None
    digits: int | None = None
    code_ttl: int | None = None
    max_attempts: int | None = None
    max_sends: int | None = None
    resend_grace: int | None = None
    proof_ttl: int | None = None
    cooldown: tuple[int, ...] | None = None
    per_recipient: tuple[Window, ...] | None = None
    per_client_ip: tuple[Window, ...] | None = None
    per_caller: tuple[Window, ...] | None = None
    regions: frozenset[str] | None = None
    enrollment_proof: bool | None = None
    locales: frozenset[str] | None = None
    locale: str | None = None
    brand: str | None = None
    sender: str | None = None
    origin: str | None = None
    app_hash: str | None = None

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Self:
        """
        Return the policy that the texts say.

        Raises:
            CallerPolicyInvalid: fields that there are not, or values that they can't have.
        """
        values, wrong = {}, []
        for name, text in texts.items():
            if name not in RULES:
                wrong.append(f"{name}: there are {', '.join(RULES)}")
                continue
            try:
                values[name] = RULES[name].read(text)
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        if wrong:
            raise CallerPolicyInvalid(*wrong)
        return cls(**values)

    def texts(self) -> dict[str, str]:
        """Return what `read` takes, of the fields that are set."""
        return {name: RULES[name].show(value) for name, value in self._set().items()}

    def tighten(self, policy: Policy) -> Policy:
        """Return the rules that hold for this caller under the service's: of each the tighter."""
        changed = {
            name: RULES[name].both(getattr(policy, name), value)
            for name, value in self._set().items()
        }
        if not changed:
            return policy
        found = replace(policy, **changed)
        if found.code_ttl < policy.code_ttl and found.min_life_at_send >= found.code_ttl:
            # Else the service's could keep every code of a caller with short lives from going out.
            return replace(found, min_life_at_send=found.code_ttl // 2)
        return found

    def check(self, policy: Policy, *, available_locales: Collection[str]) -> None:
        """
        Refuse what would loosen the service's rules, or could not work under them.

        Raises:
            CallerPolicyInvalid: each such field, with the bound.
        """
        wrong = [
            f"{name}: {reason}"
            for name, value in self._set().items()
            if (reason := RULES[name].looser(getattr(policy, name), value))
        ]
        if self.code_ttl is not None and self.code_ttl <= policy.min_life_at_send:
            wrong.append(f"code_ttl: over OTP_MIN_LIFE_AT_SEND, {policy.min_life_at_send}")
        both = self.tighten(policy)
        if self.cooldown and max(both.cooldown) > both.per_recipient[0].seconds:
            wrong.append("cooldown: no step longer than the longest window of per_recipient")
        texts = ", ".join(sorted(available_locales))
        for name, tags in (("locales", self.locales), ("locale", {self.locale} - {None})):
            if not (tags or frozenset()) <= set(available_locales):
                wrong.append(f"{name}: there are texts for {texts}")
        if both.locales is not None and both.locale not in both.locales:
            wrong.append(f"locale: one of locales; {both.locale} is not, so set locale too")
        if wrong:
            raise CallerPolicyInvalid(*wrong)

    def _set(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
