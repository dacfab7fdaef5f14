// What can go wrong. Every error says which of six kinds it is by its class.

import type { Change, Decision, Offer, Reason, Task } from "./client.js";

export interface ErrorDetail {
  /** of HTTP, 0 if there was no answer */
  status?: number;
  /** stable, "" if there is none */
  code?: string;
  requestId?: string;
  /** what to do about it, "" if that is not known */
  hint?: string;
  /** for how many milliseconds the service wants to be left alone, 0 if it does not say */
  retryAfter?: number;
  cause?: unknown;
}

/** Something could not be done, or would not be done. Nothing is permitted by it. */
export class SafeconductError extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string;
  hint: string;
  readonly retryAfter: number;

  constructor(message: string, detail: ErrorDetail = {}) {
    super(message, "cause" in detail ? { cause: detail.cause } : undefined);
    this.name = new.target.name;
    this.status = detail.status ?? 0;
    this.code = detail.code ?? "";
    this.requestId = detail.requestId ?? "";
    this.hint = detail.hint ?? "";
    this.retryAfter = detail.retryAfter ?? 0;
  }
}

/** What was asked for makes no sense. */
export class InvalidError extends SafeconductError {}
/** The service does not know who asks. */
export class UnauthenticatedError extends SafeconductError {}
/** It may not be done. */
export class ForbiddenError extends SafeconductError {}
/** There is no such thing. */
export class NotFoundError extends SafeconductError {}
/** It is not the state in which that can be done. */
export class ConflictError extends SafeconductError {}
/** There was no answer, or none that can be understood: it may work another time. */
export class UnavailableError extends SafeconductError {}

/** An act did not happen. Its cause is what went wrong, undefined if the service refused. */
export class Refused extends ForbiddenError {
  readonly decision: Decision;
  /** how asking persons went, if they were asked */
  readonly task: Task | undefined;

  constructor(decision: Decision, task?: Task, cause?: unknown) {
    const why = cause instanceof Error ? cause.message : decision.reasons[0]?.message || decision.code;
    super(`refused: ${why}`, { code: decision.code, ...(cause === undefined ? {} : { cause }) });
    this.decision = decision;
    this.task = task;
  }

  /** Why, as far as the agent may know. */
  get reasons(): readonly Reason[] {
    return this.decision.reasons;
  }
  /** The smallest set of changes that would turn the refusal into permission. */
  get changes(): readonly Change[] {
    return this.decision.changes;
  }
  /** What together lifts the refusal: approval, step_up. */
  get remedies(): readonly string[] {
    return this.decision.remedies;
  }
  /** How persons can be asked: hand it to Client.requestAccess, or give the Guard an ask. */
  get offer(): Offer | undefined {
    return this.decision.offer;
  }
}

/**
 * The act happened or failed, and what came of it is not shown: an obligation is to change it, and cannot. Neither the
 * message nor what is printed of the error shows anything of the result; reason, which is not printed, may.
 */
export class Withheld extends SafeconductError {
  readonly #reason: unknown;

  constructor(reason: unknown) {
    super("the act happened or failed, and what came of it is not shown: an obligation is to change it, and cannot");
    this.#reason = reason;
  }

  get reason(): unknown {
    return this.#reason;
  }
}

/** Returns the class of error that a status stands for. */
export function kindOf(status: number): new (message: string, detail?: ErrorDetail) => SafeconductError {
  switch (status) {
    case 401:
      return UnauthenticatedError;
    case 403:
      return ForbiddenError;
    case 404:
    case 410:
      return NotFoundError;
    case 409:
      return ConflictError;
    case 429:
      return UnavailableError;
  }
  return status >= 400 && status < 500 ? InvalidError : UnavailableError;
}
