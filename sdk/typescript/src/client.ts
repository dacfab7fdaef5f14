// Asking for decisions, asking persons, and saying what came of it.

import { inspect } from "node:util";
import type { Agent, TokenPurpose, Tokens } from "./agent.js";
import { ForbiddenError, InvalidError, NotFoundError, UnavailableError } from "./errors.js";
import { type Answer, defaultTimeout, type HttpOptions, objectOf, printable, refusal, retry, retryAfter, safe, send, sleep, split } from "./http.js";
import { isObject, isPlain, type Json, type JsonObject, Malformed, member, parse, textOf, write } from "./json.js";
import { draw, instant } from "./keys.js";

/** A subject or a resource. */
export interface Entity {
  type: string;
  id: string;
  properties?: Record<string, unknown>;
}

/**
 * The token that an agent presented to this enforcement point, and the request that it came with: the DPoP proof counts once, and
 * whether it was used before is the enforcement point's to check.
 */
export interface Presented {
  token: string;
  audience?: string;
  proof?: string;
  method?: string;
  url?: string;
  certificate?: string;
}

/** An act that somebody wants to do. */
export interface Request {
  action: string;
  resource: Entity;
  /** left out if the agent asks for itself, or presented a token */
  subject?: Entity;
  /** the arguments of the action */
  properties?: Record<string, unknown>;
  /** what is claimed of the moment */
  context?: Record<string, unknown>;
  onBehalfOf?: readonly Entity[];
  /** what an enforcement point saw itself: ip, session, task, provenance; an agent that asks for itself cannot say it */
  observed?: Record<string, unknown>;
  presented?: Presented;
}

/** Why, as far as the agent may know. */
export interface Reason {
  code: string;
  message: string;
}

/** One change of those that would turn a refusal into permission. */
export interface Change {
  who: string;
  kind: string;
  target: string;
  to: string;
  hint: string;
}

/** How persons can be asked about one refusal, and until when. It is handed to Client.requestAccess as it is. */
export class Offer {
  /** @internal */ readonly denial: Readonly<Record<string, string>>;

  /** @internal */
  constructor(readonly expires: Date, readonly endpoint: string, readonly template: string, readonly display: Json | undefined, denial: Record<string, string>) {
    this.denial = denial;
  }
  [inspect.custom](): string {
    return `<offer until ${this.expires.toISOString()}>`;
  }
}

/**
 * What was decided. It is no permission: that is a Permit, which a Guard makes once the obligations are met. Every object is true in
 * JavaScript, and so is every decision, also one that refuses: look at effect, and act by a Permit. It has no other
 * value: to compare it, to add it or to print it into a text throws TypeError.
 */
export class Decision {
  readonly effect: "allow" | "refuse";
  readonly code: string;
  /** names the record, "" if there is none */
  readonly id: string;
  readonly reasons: readonly Reason[];
  readonly changes: readonly Change[];
  readonly remedies: readonly string[];
  readonly obligations: readonly Json[];
  readonly offer: Offer | undefined;
  /** what the service says of an approval */
  readonly reason: string;
  readonly nextAction: string;
  /** in milliseconds, 0 if the service does not say */
  readonly retryAfter: number;
  /** when a permission that stands on an approval ends */
  readonly until: Date | undefined;

  /** @internal */
  constructor(d: Partial<Decision> & { effect: "allow" | "refuse"; code: string }) {
    this.effect = d.effect;
    this.code = d.code;
    this.id = d.id ?? "";
    this.reasons = d.reasons ?? [];
    this.changes = d.changes ?? [];
    this.remedies = d.remedies ?? [];
    this.obligations = d.obligations ?? [];
    this.offer = d.offer;
    this.reason = d.reason ?? "";
    this.nextAction = d.nextAction ?? "";
    this.retryAfter = d.retryAfter ?? 0;
    this.until = d.until;
    Object.freeze(this);
  }

  /** What to do after a refusal: "request" (ask persons), "retry" (ask the same again later), or "none". */
  next(): "request" | "retry" | "none" {
    if (this.effect === "allow") return "none";
    let action = this.nextAction;
    if (action !== "request" && action !== "retry" && action !== "none") {
      action = this.reason === "grant_pending" ? "retry" : this.reason === "policy_denied" || this.reason === "approval_unverifiable" ? "none" : "request";
    }
    return action === "request" && this.offer === undefined ? "none" : (action as "request" | "retry" | "none");
  }

  [Symbol.toPrimitive](): never {
    throw new TypeError("a decision has no value: look at effect, and act by a Permit of a Guard");
  }
}

/** What persons are told when they are asked. */
export interface AccessRequest {
  justification?: string;
  /** until when the approval should hold */
  until?: Date;
  /** asks for an expedited way, which is audited more closely */
  emergency?: boolean;
  /** who submits, for the record */
  client?: Record<string, unknown>;
}

/** A reference to what persons approved. It permits nothing by itself: it is carried into the next decision. */
export class Approval {
  readonly #raw: string;
  readonly #id: string;

  /** @internal */
  constructor(id: string, readonly until: Date, raw: string) {
    this.#id = id;
    this.#raw = raw;
  }
  get id(): string {
    return this.#id;
  }
  usable(at: number = Date.now()): boolean {
    return this.until.getTime() > at;
  }
  /** @internal */
  get raw(): string {
    return this.#raw;
  }
}

/** An access request under way. A status that is not known is not approved; approval is there only if we know how to enforce it. */
export interface Task {
  readonly id: string;
  readonly status: string;
  readonly expires: Date | undefined;
  readonly approval: Approval | undefined;
  readonly display: Json | undefined;
  /** @internal */ readonly endpoint: string;
  /** @internal */ readonly cancelAt: string;
  /** @internal */ readonly wait: number;
}

const ends = new Set(["approved", "denied", "expired", "cancelled", "failed", "partial"]);

/** What came of a decision. */
export interface Outcome {
  result?: "right" | "wrong" | "harmful" | "reverted";
  /** how the act failed technically; without a fault, an enforcement point says that it worked */
  fault?: "tool" | "schema" | "timeout";
  /** in milliseconds */
  latency?: number;
  /** bytes of the result */
  size?: number;
  /** ids of obligations that were met; agents may not say */
  met?: readonly string[];
  why?: string;
}

export interface ClientOptions extends HttpOptions {
  /** further origins to which the service may send us with access requests, token included */
  trusted?: readonly string[];
  /** lets the token go over http to other hosts. Danger: whoever is on the way reads it, and can decide */
  insecureHttp?: boolean;
}

export interface Asking {
  approval?: Approval | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Asks one service: as an enforcement point with its bearer token, or as an agent for itself (Client.ofAgent). Whatever goes wrong
 * is an error, and no decision: UnavailableError if there was no answer or none that can be understood.
 */
export class Client {
  readonly url: string;
  readonly #origin: string;
  readonly #token: string;
  readonly #trusted: readonly string[];
  readonly #timeout: number;
  readonly #attempts: number;
  /** @internal */ readonly now: () => number;
  /** @internal */ readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  #tokens: Tokens | undefined;
  #agent = "";

  constructor(url: string, token = "", options: ClientOptions = {}) {
    const u = split(url);
    if (u === undefined || url.includes("?") || url.includes("#") || !(safe(u) || options.insecureHttp)) {
      throw new InvalidError("that is no URL of a service: https, without query and fragment (http only on loopback)");
    }
    if (!/^[!-~]*$/.test(token)) throw new InvalidError("the token has characters that no token has");
    this.url = url.replace(/\/+$/, "");
    this.#origin = u.origin;
    this.#token = token;
    this.#trusted = options.trusted ?? [];
    this.#timeout = options.timeout ?? defaultTimeout;
    this.#attempts = options.attempts ?? 3;
    this.now = options.now ?? Date.now;
    this.sleep = options.sleep ?? sleep;
  }

  /** Returns a client by which an agent asks the service that knows it about itself. The subject is left out of its questions. */
  static ofAgent(agent: Agent, purpose: TokenPurpose = {}, options: ClientOptions = {}): Client {
    const c = new Client(agent.issuer, "", options);
    c.#tokens = agent.tokens({ resource: agent.issuer, ...purpose });
    c.#agent = agent.id;
    return c;
  }

  /** Whether an agent asks for itself. */
  get forAgent(): boolean {
    return this.#tokens !== undefined;
  }

  /** Asks whether the act may happen. An approval that is over is not sent: the answer is then as if there were none. */
  async decide(request: Request, { approval, signal }: Asking = {}): Promise<Decision> {
    const raw = approval?.usable(this.now()) ? approval.raw : "";
    const body = encode(this.#parts(request, raw, true));
    const ask = async (): Promise<Decision> => {
      const a = await this.#send({ method: "POST", url: `${this.url}/access/v1/evaluation`, body, signal });
      if (a.status !== 200) throw refusal(a);
      return readDecision(a.body);
    };
    return raw ? ask() : retry(this.#attempts, ask, signal, this.sleep); // an approval may be used up by the first
  }

  /** Says what came of a decision, once. ConflictError: it is reported already, or too old. It is sent again while the service is unavailable. */
  async outcome(decision: Decision | string, o: Outcome = {}): Promise<void> {
    const id = typeof decision === "string" ? decision : decision.id;
    if (!decisionId.test(id)) throw new InvalidError("that is no decision id: it looks like d123");
    const said: Record<string, unknown> = {
      result: o.result, fault: o.fault, latency_ms: o.latency ? Math.ceil(o.latency) : undefined, met: o.met?.length ? o.met : undefined, why: o.why || undefined,
    };
    const enough = said["result"] !== undefined || said["fault"] !== undefined || said["latency_ms"] !== undefined || said["met"] !== undefined;
    said["size_bytes"] = o.size ?? (enough ? undefined : 0);
    const body = encode(said);
    let tries = 0;
    await retry(this.#attempts, async () => {
      tries++;
      const a = await this.#send({ method: "POST", url: `${this.url}/v1/decisions/${id}/outcome`, body });
      if (a.status !== 200 && !(a.status === 409 && tries > 1)) throw refusal(a); // 409: it is recorded, and the answer to that was lost
    }, undefined, this.sleep);
  }

  /** Submits an access request about an act that was refused, with the offer that came with the refusal. It is sent again, under the same key, while the service is unavailable. */
  async requestAccess(request: Request, offer: Offer, r: AccessRequest = {}, signal?: AbortSignal): Promise<Task> {
    const where = offer.endpoint || (await this.#requestEndpoint(signal));
    const parts = this.#parts(request, "", false);
    if (parts["subject"] === undefined) {
      if (!this.#agent) throw new InvalidError("an access request names its subject: that of the token that was presented");
      parts["subject"] = { type: "agent", id: this.#agent };
    }
    const context = { ...(parts["context"] as Record<string, unknown> | undefined) };
    if (r.justification) {
      if (Object.hasOwn(context, "business_justification")) {
        throw new InvalidError("the refused act has a business_justification in its context: an access request does not change it");
      }
      context["business_justification"] = r.justification;
    }
    if (Object.keys(context).length) parts["context"] = context;
    const access = { requested_until: r.until?.toISOString(), emergency: r.emergency || undefined };
    if (access.requested_until || access.emergency) parts["requested_access"] = access;
    if (r.client) parts["client"] = r.client;
    parts["denial"] = offer.denial;
    const s = { method: "POST", url: where, body: encode(parts), headers: { "Idempotency-Key": draw() }, signal };
    return retry(this.#attempts, async () => this.#task(await this.#exchange(s)), signal, this.sleep);
  }

  /** Asks how far a task has come. */
  async task(t: Task, signal?: AbortSignal): Promise<Task> {
    return this.#task(await this.#exchange({ method: "GET", url: t.endpoint, signal }), t);
  }

  /** Ends a task that waits. */
  async cancel(t: Task, comment = ""): Promise<Task> {
    if (!t.cancelAt) throw new InvalidError("the service does not let access requests be cancelled");
    return this.#task(await this.#exchange({ method: "POST", url: t.cancelAt, body: encode({ reason: "cancelled", comment }) }), t);
  }

  /**
   * Asks how far a task has come, until it has come to its end or its time is over (NotFoundError). It waits as long between as
   * the service wants, and longer each time. While the service is unavailable it goes on.
   */
  async awaitApproval(t: Task, signal?: AbortSignal): Promise<Task> {
    for (let pause = 3_000; !ends.has(t.status); pause = Math.min(pause * 1.5, 60_000)) {
      let wait = Math.max(t.wait, pause / 2 + (Math.random() * pause) / 2);
      if (t.expires !== undefined) {
        const left = t.expires.getTime() - this.now();
        if (left <= 0) throw new NotFoundError("the access request has expired unanswered");
        wait = Math.min(wait, left + 1_000);
      }
      await this.sleep(wait, signal);
      try {
        t = await this.task(t, signal);
      } catch (e) {
        if (!(e instanceof UnavailableError)) throw e;
      }
    }
    return t;
  }

  #send(s: { method: string; url: string; body?: string; headers?: Record<string, string>; signal?: AbortSignal | undefined }): Promise<Answer> {
    const headers = { ...s.headers, ...(s.body === undefined ? {} : { "Content-Type": "application/json" }) };
    if (this.#tokens) return this.#tokens.send(s.method, s.url, { ...s, headers });
    return send({ ...s, headers: this.#token ? { ...headers, Authorization: `Bearer ${this.#token}` } : headers }, this.#timeout);
  }

  /**
   * Does one request at an address that the service gave, which must lead back to it or to an origin in trusted: no token and no
   * justification goes anywhere else (ARAP, Trusting URLs from the Requestable Denial).
   */
  async #exchange(s: { method: string; url: string; body?: string; headers?: Record<string, string>; signal?: AbortSignal | undefined }): Promise<Answer> {
    const u = split(s.url);
    if (u === undefined || s.url.includes("#") || u.origin !== this.#origin && !this.#trusted.includes(u.origin)) {
      throw new ForbiddenError(`the service gave the address ${printable(s.url, 200)}, which is of another origin, or no URL`);
    }
    const a = await this.#send(s);
    if (a.status !== 200 && a.status !== 201 && a.status !== 202) throw refusal(a);
    return a;
  }

  async #requestEndpoint(signal?: AbortSignal): Promise<string> {
    const a = await this.#send({ method: "GET", url: `${this.url}/.well-known/authzen-configuration`, signal });
    const where = a.status === 200 ? textOf(objectOf(a.body), "access_request_endpoint") : "";
    if (!where) throw new UnavailableError("neither the refusal nor the service's metadata says where to ask");
    return where;
  }

  #parts(q: Request, approval: string, presented: boolean): Record<string, unknown> {
    const parts: Record<string, unknown> = {};
    if (q.subject) parts["subject"] = entity(q.subject, "subject");
    if (typeof q.action !== "string" || !q.action) throw new InvalidError("a request names its action");
    parts["action"] = { name: q.action, ...(q.properties && Object.keys(q.properties).length ? { properties: q.properties } : {}) };
    parts["resource"] = entity(q.resource, "resource");
    const observed = { ...q.observed };
    if (this.forAgent && (Object.keys(observed).length || q.presented)) throw new InvalidError("an agent that asks for itself cannot say what was observed");
    if (presented && q.presented) {
      const said = Object.entries(q.presented).filter(([name, value]) => ["token", "audience", "proof", "method", "url", "certificate"].includes(name) && value);
      observed["passport"] = Object.fromEntries(said);
    }
    const seen: Record<string, unknown> = {};
    if (Object.keys(observed).length) seen["observed"] = observed;
    if (q.onBehalfOf?.length) seen["on_behalf_of"] = q.onBehalfOf.map((e) => entity(e, "onBehalfOf"));
    if (approval) seen["approval"] = parse(approval, true);
    for (const name of Object.keys(seen)) {
      if (q.context && Object.hasOwn(q.context, name)) throw new InvalidError(`the context has a member ${name} of its own`);
    }
    const context = { ...q.context, ...seen };
    if (Object.keys(context).length) parts["context"] = context;
    return parts;
  }

  /** Reads a task out of an answer. */
  #task(a: Answer, before?: Task): Task {
    const m = objectOf(a.body);
    const t = member(m, "task");
    if (!isObject(t) || !textOf(t, "status")) throw new UnavailableError("the service's answer is no task");
    const links = member(t, "links");
    const items = member(t, "items");
    const one = !(Array.isArray(items) && items.length);
    return {
      id: printable(textOf(t, "id"), 200), status: printable(textOf(t, "status"), 40), expires: instant(member(t, "expires_at")),
      approval: textOf(t, "status") === "approved" && one ? approvalOf(member(objectOf(a.body, true), "result")) : undefined, display: member(t, "display"),
      endpoint: textOf(t, "status_endpoint") || before?.endpoint || "", cancelAt: isObject(links) ? textOf(links, "cancel") : "",
      wait: retryAfter(a.headers.get("retry-after"), this.now()),
    };
  }
}

const decisionId = /^d[0-9]{1,19}$/;

/** Reads a decision as AuthZEN writes it. Throws UnavailableError: it is none, or one of its members is not what it should be. */
export function readDecision(body: Uint8Array): Decision {
  const m = objectOf(body);
  const allowed = member(m, "decision");
  const x = member(m, "context") ?? {};
  if (typeof allowed !== "boolean" || !isObject(x)) throw new UnavailableError("the service's answer is no decision");
  let reasons: Reason[] = objects(x, "reasons").map((o) => ({ code: textOf(o, "code"), message: textOf(o, "message") }));
  const remedies = list(x, "remedies").map((s) => {
    if (typeof s !== "string") throw new UnavailableError("the service's answer is no decision: remedies");
    return s;
  });
  let effect: "allow" | "refuse" = allowed ? "allow" : "refuse";
  let code = allowed ? "allowed" : textOf(x, "code") || "no_permit";
  let until: Date | undefined;
  const approval = member(x, "approval");
  if (allowed && approval !== undefined && approval !== null) {
    const said = isObject(approval) ? member(approval, "approved_until") : undefined;
    until = instant(said);
    if (!isObject(approval) || until === undefined && said !== undefined) {
      // It ends at a time that nobody can tell: it does not hold.
      effect = "refuse";
      code = "unavailable";
      reasons = [{ code, message: "The service's answer says no time until which the approval holds." }];
    }
  }
  const id = textOf(x, "evaluation_id");
  const after = member(x, "retry_after");
  return new Decision({
    effect, code, id: decisionId.test(id) ? id : "", reasons, remedies, until, obligations: list(x, "obligations"), offer: allowed ? undefined : offerOf(x),
    changes: objects(x, "changes").map((o) => ({ who: textOf(o, "who"), kind: textOf(o, "kind"), target: textOf(o, "target"), to: textOf(o, "to"), hint: textOf(o, "hint") })),
    reason: textOf(x, "reason"), nextAction: textOf(x, "next_action"), retryAfter: typeof after === "number" && after > 0 ? Math.min(after, 86_400) * 1000 : 0,
  });
}

/** Returns what is offered, undefined if that is nothing or cannot be used: it needs an end, and what binds it to the refusal. */
function offerOf(x: JsonObject): Offer | undefined {
  const o = member(x, "access_request");
  if (!isObject(o)) return undefined;
  const expires = instant(member(o, "expires_at"));
  const denial = {
    expires_at: textOf(o, "expires_at"), binding_token: textOf(o, "binding_token"), template: textOf(o, "template"), evaluation_id: textOf(x, "evaluation_id"),
    evaluated_at: textOf(x, "evaluated_at"), reason: textOf(x, "reason"),
  };
  if (expires === undefined || !denial.binding_token && !denial.evaluation_id) return undefined;
  return new Offer(expires, textOf(o, "endpoint"), denial.template, member(o, "display"), Object.fromEntries(Object.entries(denial).filter(([, v]) => v)));
}

/** Returns the approval of a result that is enforced by asking again, undefined of any other. */
function approvalOf(result: Json | undefined): Approval | undefined {
  if (!isObject(result) || textOf(result, "mode") !== "reevaluate") return undefined;
  const a = member(result, "approval");
  if (!isObject(a)) return undefined;
  const until = instant(member(a, "approved_until"));
  return until !== undefined && textOf(a, "id") ? new Approval(textOf(a, "id"), until, write(a)) : undefined;
}

function entity(e: Entity, what: string): Record<string, unknown> {
  if (!isPlain(e) || typeof e.type !== "string" || !e.type || typeof e.id !== "string" || !e.id) throw new InvalidError(`the ${what} has no type and id`);
  return { type: e.type, id: e.id, ...(e.properties && Object.keys(e.properties).length ? { properties: e.properties } : {}) };
}

function encode(v: unknown): string {
  try {
    return write(v);
  } catch (e) {
    if (e instanceof Malformed) throw new InvalidError(`the request cannot be encoded: ${e.message}`);
    throw e;
  }
}

function list(m: JsonObject, name: string): Json[] {
  const v = member(m, name) ?? [];
  if (!Array.isArray(v)) throw new UnavailableError(`the service's answer has a member ${name} that is no array`);
  return v;
}

function objects(m: JsonObject, name: string): JsonObject[] {
  return list(m, name).map((o) => {
    if (!isObject(o)) throw new UnavailableError(`the service's answer has a member ${name} that is not of objects`);
    return o;
  });
}
