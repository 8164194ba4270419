"""The client knows every call, every member and every refusal that the service has, and nothing more."""

import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from otp_service import client
from otp_service.client import (
    AsyncClient,
    Client,
    InvalidCode,
    OtpServiceError,
    Proven,
    Refused,
    Unavailable,
    code_calls,
    device_calls,
    factor_calls,
    opt_in_calls,
)
from otp_service.client.call import Call
from otp_service.client.wire import BY_CODE
from otp_service.errors import Fault, OtpError
from otp_service.web.operations import Operation
from otp_service.web.problems import leaves
from otp_service.web.routes import OPERATIONS

BUILDERS: dict[str, Callable[..., Call[Any]]] = {
    name: found
    for module in (code_calls, opt_in_calls, factor_calls, device_calls)
    for name, found in vars(module).items()
    if inspect.isfunction(found) and found.__module__ == module.__name__
}
EXAMPLE = "example"


def built(builder: Callable[..., Call[Any]]) -> Call[Any]:
    return builder(**dict.fromkeys(required(builder), EXAMPLE))


def required(builder: Callable[..., Call[Any]]) -> set[str]:
    parameters = inspect.signature(builder).parameters.values()
    return {p.name for p in parameters if p.default is inspect.Parameter.empty}


def counterpart(operation: Operation) -> Callable[..., Call[Any]]:
    """The builder of the operation's call."""
    parameter = operation.path.partition("{")[2].partition("}")[0]
    path = operation.path.replace(f"{{{parameter}}}", EXAMPLE)
    found = [
        b for b in BUILDERS.values() if (built(b).method, built(b).path) == (operation.method, path)
    ]
    assert len(found) == 1, f"the client has no method for {operation.method} {operation.path}"
    return found[0]


def test_every_refusal_of_the_service_has_a_class() -> None:
    told = {error.code: error for error in leaves(OtpError)}

    missing = set(told) - set(BY_CODE)
    assert not missing, (
        f"give these a class in otp_service.client.errors and a row in BY_CODE: {missing}"
    )
    assert set(BY_CODE) - set(told) == {"internal", "proof_inactive"}
    for code, error in told.items():
        kind = Unavailable if issubclass(error, Fault) else Refused
        assert issubclass(BY_CODE[code], kind), code


def test_classes_stand_in_the_tree_as_those_of_the_service_do() -> None:
    ours = {found.__name__: found for found in set(BY_CODE.values())}
    for error in leaves(OtpError):
        for parent in error.__mro__[1:]:
            name = parent.__name__
            if error.__name__ in ours and hasattr(client, name) and name not in ("Unavailable",):
                assert issubclass(ours[error.__name__], getattr(client, name)), error


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_call_is_a_method_with_its_members_and_its_answer(operation: Operation) -> None:
    builder = counterpart(operation)
    sent = operation.request or operation.query
    members = set(sent.model_fields) if sent else set()
    path = {operation.path.partition("{")[2].partition("}")[0]} - {""}
    extra = {"idempotency_key"} if operation.idempotent else set()
    extra |= {"wait"} if operation.waits else set()

    assert set(inspect.signature(builder).parameters) == members | path | extra
    if sent:
        assert required(builder) - path == {
            name for name, field in sent.model_fields.items() if field.is_required()
        }
    assert (built(builder).idempotency_key is not None) == operation.idempotent
    if operation.status != 204:
        result = built(builder).result
        told = {field.name for field in dataclasses.fields(result)}
        assert told == set(operation.success.model_fields)
    assert {f"{error.__name__}" for error in operation.refusals} <= explained(builder), (
        "the docstring names every refusal"
    )


def explained(builder: Callable[..., Call[Any]]) -> set[str]:
    """The refusals that the docstring names, and what stands below them."""
    words = {word.strip(",:.") for word in (builder.__doc__ or "").split()}
    found = set()
    for kind in BY_CODE.values():
        if words & {parent.__name__ for parent in kind.__mro__[:3]}:
            found.add(kind.__name__)
    return found


@pytest.mark.parametrize("name", BUILDERS)
def test_every_argument_goes_out_under_its_own_name(name: str) -> None:
    names = inspect.signature(BUILDERS[name]).parameters
    sent = {n: {n: "1"} if n in ("context", "custom_fields") else f"the-{n}" for n in names}
    call = BUILDERS[name](**sent)

    found = {**(call.body or {}), **(call.query or {})}
    if call.idempotency_key is not None:
        found["idempotency_key"] = call.idempotency_key
    if call.wait is not None:
        found["wait"] = call.wait
    [*segment] = (n for n in names if f"the-{n}" in call.path)
    found |= {n: f"the-{n}" for n in segment}
    assert found == sent


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_both_clients_have_every_call_with_its_signature_and_words(kind: type[Any]) -> None:
    for name, builder in BUILDERS.items():
        method = getattr(kind, name)
        own = inspect.signature(method)
        assert list(own.parameters) == ["self", *inspect.signature(builder).parameters]
        assert own.return_annotation is get_type_hints(method)["return"]
        assert method.__doc__ == builder.__doc__
    public = {n for n, v in vars(kind).items() if inspect.isfunction(v) and n[0] != "_"}
    assert public - set(BUILDERS) == {"close" if kind is Client else "aclose"}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "credential", "options"),
    [
        ("127.0.0.1:8000", "c", {}),
        ("ftp://host", "c", {}),
        ("http://", "c", {}),
        ("https://user:word@host", "c", {}),
        ("https://host/?x=1", "c", {}),
        ("https://host", "", {}),
        ("https://host", "two words", {}),
        ("https://host", "line\nbreak", {}),
        ("https://host", "clé", {}),
        ("https://host", "c", {"timeout": 0}),
        ("https://host", "c", {"retries": -1}),
    ],
)
def test_what_cannot_work_is_refused_at_once_and_says_no_credential(
    kind: type[Any], url: str, credential: str, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"must|empty") as refused:
        kind(url, credential, **options)

    assert len(credential) < 2 or credential not in str(refused.value)


def test_a_repr_shows_no_secret() -> None:
    with Client("https://otp.internal/", " otp_secret\n") as sync:
        assert repr(sync) == "Client('https://otp.internal')"
        assert "secret" not in repr(vars(sync))
    call = code_calls.verify_code(challenge_id="x", code="042137", purpose="login")
    assert "042137" not in repr(call)


def test_an_idempotency_key_that_is_none_is_refused_before_anything_is_sent() -> None:
    for odd in ("", "a\nb", "é", "x" * 256):
        with pytest.raises(ValueError, match="printable"):
            code_calls.resend_code(challenge_id="x", idempotency_key=odd)


def test_exceptions_and_results_survive_a_process_boundary() -> None:
    data = {"code": "invalid_code", "title": "Wrong", "attempts_remaining": 2}
    error = InvalidCode(data, 400, "the-request")
    error.idempotency_key = "k"
    again: OtpServiceError = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert isinstance(again, InvalidCode)
    assert (again.attempts_remaining, again.idempotency_key, str(again)) == (2, "k", str(error))
    assert dataclasses.is_dataclass(Proven)
