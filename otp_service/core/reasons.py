"""What is wrong with a value, as one sentence whose subject is the field: "must be …"."""

import re

_PYDANTIC = re.compile(r"\w+ should (.*)", re.DOTALL)


def reason(message: str) -> str:
    """Return a message of pydantic's as such a reason; messages of our own validators are ones already."""
    own = message.removeprefix("Value error, ")
    theirs = _PYDANTIC.fullmatch(own)
    return f"must {theirs[1]}" if theirs else own
