"""The Python SDK of Safeconduct: authorization for AI agents.

An Agent has a key and gets tokens that are bound to it. A Client asks for decisions. A Guard stands before functions: it
asks, meets obligations, has persons asked, and reports what came of it. Only a Permit is permission.

Errors are of six kinds (errors.py); Refused says why an act did not happen. What is not understood refuses.
"""

from ._http import Response
from .agent import Agent, Token, TokenRefusal, Tokens, enrol
from .client import (
    AccessRequest, Approval, Change, Client, Decision, Entity, Offer, Presented, Reason, Request, Task, agent_client,
)
from .errors import (
    ConflictError, ForbiddenError, InvalidError, NotFoundError, Refused, SafeconductError, UnauthenticatedError, UnavailableError, Withheld,
)
from .guard import Guard, Permit
from .keys import Key, generate, load_key
from .obligations import Duty, Handler, built_in, meet_cap, meet_delay, meet_dry_run, meet_log, meet_mask

__version__ = "0.1.0"

__all__ = [
    "AccessRequest", "Agent", "Approval", "Change", "Client", "ConflictError", "Decision", "Duty", "Entity", "ForbiddenError", "Guard",
    "Handler", "InvalidError", "Key", "NotFoundError", "Offer", "Permit", "Presented", "Reason", "Refused", "Request", "Response",
    "SafeconductError", "Task", "Token", "TokenRefusal", "Tokens", "UnauthenticatedError", "UnavailableError", "Withheld", "agent_client",
    "built_in", "enrol", "generate", "load_key", "meet_cap", "meet_delay", "meet_dry_run", "meet_log", "meet_mask",
]
