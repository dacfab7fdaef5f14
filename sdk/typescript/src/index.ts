/**
 * The TypeScript SDK of Safeconduct: authorization for AI agents.
 *
 * An Agent has a key and gets tokens that are bound to it. A Client asks for decisions. A Guard stands before functions: it asks,
 * meets obligations, has persons asked, and reports what came of it. Only a Permit is permission. What is not understood refuses.
 */

export { Agent, Token, Tokens, type Sent, type TokenPurpose, type TokenRefusal } from "./agent.js";
export {
  type AccessRequest, Approval, type Asking, type Change, Client, type ClientOptions, Decision, type Entity, Offer, type Outcome, type Presented, type Reason, type Request, type Task,
} from "./client.js";
export {
  ConflictError, ForbiddenError, InvalidError, NotFoundError, Refused, SafeconductError, UnauthenticatedError, UnavailableError, Withheld,
} from "./errors.js";
export { type Ask, Guard, type GuardOptions, Permit, type Promised, type Wrapped } from "./guard.js";
export type { Answer, HttpOptions } from "./http.js";
export { type Algorithm, Key } from "./keys.js";
export {
  builtIn, Duty, type Handler, type Handlers, type Level, type Log, meetCap, meetDelay, meetDryRun, meetLog, meetMask, type Shape, Unmet,
} from "./obligations.js";
