"""What can go wrong. Every error says which of six kinds it is by its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence

if TYPE_CHECKING:
    from .client import Change, Decision, Offer, Reason, Task

__all__ = [
    "SafeconductError", "InvalidError", "UnauthenticatedError", "ForbiddenError", "NotFoundError",
    "ConflictError", "UnavailableError", "Refused", "Withheld",
]


class SafeconductError(Exception):
    """Something could not be done, or would not be done. Nothing is permitted by it.

    status is that of HTTP, 0 if there was no answer; code is stable, "" if there is none; hint says what to do about it;
    retry_after is for how many seconds the service wants to be left alone, 0 if it does not say.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "", request_id: str = "", hint: str = "",
                 retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.hint = hint
        self.retry_after = retry_after


class InvalidError(SafeconductError):
    """What was asked for makes no sense."""


class UnauthenticatedError(SafeconductError):
    """The service does not know who asks."""


class ForbiddenError(SafeconductError):
    """It may not be done."""


class NotFoundError(SafeconductError):
    """There is no such thing."""


class ConflictError(SafeconductError):
    """It is not the state in which that can be done."""


class UnavailableError(SafeconductError):
    """There was no answer, or none that can be understood: it may work another time."""


class Refused(ForbiddenError):
    """An act did not happen.

    cause is what went wrong, None if the service refused. offer, if it is not None, is how persons can be asked: hand it
    to Client.request_access, or give the Guard an ask. task is how that went, if persons were asked.
    """

    def __init__(self, decision: Decision, *, task: Optional[Task] = None, cause: Optional[BaseException] = None) -> None:
        message = "refused: " + decision.code
        if decision.reasons:
            message = "refused: " + decision.reasons[0].message
        if cause is not None:
            message = "refused: " + str(cause)
        super().__init__(message, code=decision.code)
        self.decision = decision
        self.task = task
        self.cause = cause

    @property
    def reasons(self) -> Sequence[Reason]:
        """Why, as far as the agent may know."""
        return self.decision.reasons

    @property
    def changes(self) -> Sequence[Change]:
        """The smallest set of changes that would turn the refusal into permission."""
        return self.decision.changes

    @property
    def remedies(self) -> Sequence[str]:
        """What together lifts the refusal: approval, step_up."""
        return self.decision.remedies

    @property
    def offer(self) -> Optional[Offer]:
        """How persons can be asked, None if they cannot be."""
        return self.decision.offer


class Withheld(SafeconductError):
    """The act happened or failed, and what came of it is not shown: an obligation is to change it, and cannot.

    The message shows nothing of the result. The cause may.
    """

    def __init__(self, cause: Any) -> None:
        super().__init__("the act happened or failed, and what came of it is not shown: an obligation is to change it, and cannot")
        self.cause = cause
