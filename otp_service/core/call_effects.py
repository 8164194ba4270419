"""Whether a call has changed anything so far: a 503 that says so must be right."""

from contextvars import ContextVar


class CallEffects:
    """
    What is known of one call.

    Attributes:
        possible: Whether something was counted, spent, queued or asked of the site, or may have been.
    """

    def __init__(self) -> None:
        self.possible = False


_current: ContextVar[CallEffects | None] = ContextVar("call_effects", default=None)


def begin_call() -> CallEffects:
    """Return the record of a new call: of this task, and of the tasks that it starts."""
    effects = CallEffects()
    _current.set(effects)
    return effects


def effects_are_possible() -> None:
    """Note that the current call has changed something, or may have."""
    effects = _current.get()
    if effects is not None:
        effects.possible = True
