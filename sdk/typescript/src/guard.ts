// Guards stand before acts: one happens only if it may, and only as its obligations say.

import { type AccessRequest, type Approval, type Client, Decision, type Entity, type Outcome, type Request, type Task } from "./client.js";
import { ForbiddenError, InvalidError, Refused, SafeconductError, Withheld } from "./errors.js";
import { printable } from "./http.js";
import { isObject, isPlain, type JsonObject, Malformed, parse, textOf, write } from "./json.js";
import { builtIn, Duty, type Handler, type Handlers, nameOf, type Terms, Unmet } from "./obligations.js";

const maxDuties = 64;
const ours = Symbol("ours");

/**
 * Permission for one act: a decision that allows, whose obligations before the act were met. Only a Guard makes one. The act is run by
 * run, once. Whoever takes the steps one by one calls use before the act, shape with its result, and done at the end.
 */
export class Permit {
  readonly #client: Client;
  readonly #decision: Decision;
  readonly #task: Task | undefined;
  readonly #terms: Terms;
  readonly #met: readonly string[];
  readonly #answered: Moment;
  readonly #fresh: number;
  #used = false;
  #shaped = false;
  #done = false;
  #began = 0;
  #size: number | undefined;
  /** why the service does not know what came of the act */
  unreported: SafeconductError | undefined;

  /** @internal */
  constructor(key: symbol, client: Client, decision: Decision, task: Task | undefined, terms: Terms, met: readonly string[], answered: Moment, fresh: number) {
    if (key !== ours) throw new TypeError("a permit is made by a Guard");
    this.#client = client;
    this.#decision = decision;
    this.#task = task;
    this.#terms = terms;
    this.#met = met;
    this.#answered = answered;
    this.#fresh = fresh;
  }

  /** The id of the decision, "" if the service has not recorded it. */
  get decision(): string {
    return this.#decision.id;
  }
  /** Whether the act may only be tried, and not be done. */
  get tried(): boolean {
    return this.#terms.tries;
  }
  /** Whether the result must go through shape before anybody sees it. */
  get whole(): boolean {
    return this.#terms.shapes.length > 0;
  }
  /** When the approval ends on which it stands, undefined if it stands on none. */
  get until(): Date | undefined {
    return this.#decision.until;
  }
  /** The ids of the obligations that are met. */
  get met(): string[] {
    const left = this.#shaped ? [] : this.#terms.shapes.map((s) => s.id);
    return this.#met.filter((id) => !left.includes(id));
  }

  /** Begins the act. Refused: it was begun before, the approval is over, or the decision is too old (GuardOptions.fresh). */
  use(): void {
    if (this.#used) throw refused(this.#decision, "permit_used", "A permit is for one act.", this.#task);
    this.#used = true;
    if (this.until !== undefined && this.#client.now() >= this.until.getTime()) {
      throw refused(this.#decision, "approval_expired", "The approval ended before the act could begin.", this.#task);
    }
    if (age(this.#answered, this.#client) >= this.#fresh) throw stale(this.#decision, this.#task);
    this.#began = performance.now();
  }

  /** Returns the result as it may be seen. Withheld: it cannot be changed as it has to be, and must not be shown. */
  shape<T>(result: T): T {
    this.#size ??= sizeOf(result);
    let out: unknown = result;
    for (const s of this.#terms.shapes) {
      try {
        out = s.f(out);
      } catch (e) {
        throw new Withheld(e);
      }
    }
    this.#shaped = true;
    return out as T;
  }

  /** Reports the outcome, once; later calls do nothing. */
  async done(o: Outcome = {}): Promise<void> {
    if (this.#done || !this.decision) return;
    this.#done = true;
    const latency = this.#began ? performance.now() - this.#began : 0;
    const met = this.#client.forAgent ? [] : this.met; // which an agent cannot say of itself
    try {
      await this.#client.outcome(this.decision, { latency, met, ...(this.#size === undefined ? {} : { size: this.#size }), ...o });
    } catch (e) {
      if (!(e instanceof SafeconductError)) throw e;
      this.unreported = e;
    }
  }

  /** Runs the act, and returns its result as it may be seen. What the act throws is thrown, but Withheld if obligations were to change the result: errors tell of results. */
  async run<T>(act: (permit: this) => T | Promise<T>): Promise<T> {
    this.use();
    let out: T;
    try {
      out = await act(this);
    } catch (e) {
      const name = e instanceof Error ? e.name : "";
      await this.done({ fault: name === "TimeoutError" ? "timeout" : "tool" });
      throw this.whole ? new Withheld(e) : e;
    }
    try {
      return this.shape(out);
    } finally {
      await this.done();
    }
  }

  toJSON(): string {
    return `permit by ${this.decision || "a decision that is not recorded"}`;
  }
}

/** Fills in what persons are told when an act was refused that they can be asked about: a justification, or more; undefined asks nobody. */
export type Ask = (request: Request, decision: Decision) => string | AccessRequest | undefined | Promise<string | AccessRequest | undefined>;

export interface GuardOptions {
  /** who acts, where a request does not say */
  subject?: Entity;
  /** meet obligations by their names: builtIn(), by default */
  handlers?: Handlers;
  ask?: Ask;
  /** how often persons are asked about one act at most: 1 by default */
  asks?: number;
  /** in milliseconds, for meeting one obligation: a minute by default */
  timeout?: number;
  /**
   * for how many milliseconds a decision counts before its act begins, from the answer on: a minute by default. If meeting the obligations
   * takes longer, such as a delay, it is asked once more, and what is obliged to again with the same words is not met again, but for what
   * says how the act happens. A question with an approval draws another use of it then; one with a proof, which counts once, is refused.
   */
  fresh?: number;
  /** told when the service does not know what came of an act */
  onUnreported?: (permit: Permit, error: SafeconductError) => void;
}

/** What the caller will do with a permit: what is not promised here, an obligation cannot demand, and refuses. */
export interface Promised {
  /** the result goes through Permit.shape: Permit.run does that */
  shapes?: boolean;
  /** Permit.tried is heeded */
  canTry?: boolean;
  signal?: AbortSignal | undefined;
}

/** How calls of a function are asked about. */
export interface Wrapped<A, R> {
  /** the function's name, by default */
  action?: string;
  /** {type: "tool", id: action}, by default */
  resource?: Entity | ((args: A) => Entity);
  subject?: Entity | ((args: A) => Entity);
  /** the properties of the action: the arguments, by default */
  properties?: (args: A) => Record<string, unknown>;
  context?: Record<string, unknown> | (() => Record<string, unknown>);
  observed?: Record<string, unknown> | (() => Record<string, unknown>);
  /** ends waiting for a decision and for persons, as the frameworks of tools have it: of the arguments after the first */
  signal?: (more: readonly unknown[]) => AbortSignal | undefined;
  /** called instead, if the act may only be tried */
  dryRun?: (args: A) => R | Promise<R>;
}

/** Asks whether an act may happen, meets the obligations, has persons asked, and lets the act happen only if all of that went well. */
export class Guard {
  readonly #client: Client;
  readonly #options: GuardOptions;
  readonly #handlers: ReadonlyMap<string, Handler>;

  constructor(client: Client, options: GuardOptions = {}) {
    this.#client = client;
    this.#options = options;
    this.#handlers = new Map(Object.entries(options.handlers ?? builtIn()));
  }

  /**
   * Guards a function of one object of arguments, a tool: calling what is returned is an act that must be permitted. The action's
   * properties are the arguments. The function gets a copy of them, which is what was asked about, and whatever further
   * arguments there are. The call gives what the function does, as it may be seen, or throws Refused, Withheld, or what the function throws.
   */
  tool<A extends object, M extends unknown[], R>(f: (args: A, ...more: M) => R | Promise<R>, w: Wrapped<A, R> = {}): (args: A, ...more: M) => Promise<R> {
    if (/Generator/.test(Object.prototype.toString.call(f))) throw new TypeError("a generator does its act when nobody looks any more: it cannot be guarded");
    const action = w.action ?? f.name;
    return async (args: A, ...more: M): Promise<R> => {
      const copy = snapshot(args, "the arguments") as A;
      const said = <T>(v: T | ((args: A) => T) | undefined): T | undefined => (typeof v === "function" ? (v as (args: A) => T)(snapshot(copy, "the arguments") as A) : v);
      const subject = said(w.subject) ?? this.#options.subject;
      const moment = (m: Record<string, unknown> | (() => Record<string, unknown>) | undefined): Record<string, unknown> => (typeof m === "function" ? m() : m) ?? {};
      const request: Request = {
        action, resource: said(w.resource) ?? { type: "tool", id: action }, properties: (w.properties ? said(w.properties) : copy) as Record<string, unknown>,
        context: moment(w.context), observed: moment(w.observed), ...(subject ? { subject } : {}),
      };
      const permit = await this.permit(request, { shapes: true, canTry: w.dryRun !== undefined, signal: w.signal?.(more) });
      try {
        return await permit.run((p) => (p.tried && w.dryRun ? w.dryRun(copy) : f(copy, ...more)));
      } finally {
        if (permit.unreported) this.#options.onUnreported?.(permit, permit.unreported);
      }
    };
  }

  /** Returns permission for the act, or throws Refused. */
  async permit(request: Request, { shapes = false, canTry = false, signal }: Promised = {}): Promise<Permit> {
    const q = this.#declare(frozen(request, this.#options.subject), shapes, canTry);
    let approval: Approval | undefined;
    let task: Task | undefined;
    const fresh = this.#options.fresh ?? 60_000;
    let stepped = false;
    let renewed = false;
    let prior: readonly string[] = []; // obligations that were met for an answer that is stale by now
    for (let asked = 0, retried = 0; ; ) {
      let d: Decision;
      try {
        d = await this.#client.decide(q, { approval, signal });
      } catch (e) {
        if (!(e instanceof SafeconductError)) throw e;
        throw new Refused(new Decision({ effect: "refuse", code: e instanceof InvalidError ? "invalid_request" : "unavailable" }), task, e);
      }
      const answered = moment(this.#client);
      const terms: Terms = { canTry, canShape: shapes, tries: false, shapes: [], until: 0 };
      const { met, unmet, lasting } = await this.#meet(q, d, terms, d.effect === "allow" ? prior : []);
      const wait = terms.until - this.#client.now();
      if (wait > 0) await this.#client.sleep(wait, signal);
      signal?.throwIfAborted(); // nothing is done for who has gone
      if (d.effect === "allow") {
        if (unmet.length) throw refused(d, "obligation_unsupported", unmet.join("; "), task);
        if (age(answered, this.#client) < fresh) return new Permit(ours, this.#client, d, task, terms, met, answered, fresh);
        if (renewed || q.presented?.proof) throw stale(d, task);
        renewed = true;
        prior = lasting;
        continue;
      }
      const next = d.next();
      if (next === "request" && this.#options.ask && asked < (this.#options.asks ?? 1)) {
        const r = await this.#options.ask(q, d);
        if (r === undefined) throw new Refused(d, task);
        asked++;
        try {
          task = await this.#client.requestAccess(q, d.offer!, typeof r === "string" ? { justification: r } : r, signal);
          task = await this.#client.awaitApproval(task, signal);
        } catch (e) {
          if (!(e instanceof SafeconductError)) throw e;
          throw new Refused(d, task, e);
        }
        if (task.approval === undefined) throw new Refused(d, task, new ForbiddenError(`the access request is ${task.status}`));
        approval = task.approval;
      } else if (next === "retry" && approval !== undefined) {
        const pause = d.retryAfter || Math.min(3_000 * 2 ** Math.min(retried++, 5), 60_000);
        if (!approval.usable(this.#client.now() + pause)) throw new Refused(d, task);
        await this.#client.sleep(pause, signal);
      } else if (next === "none" && !unmet.length && !stepped && d.obligations.some((o) => isObject(o) && textOf(o, "type") === "step-up")) {
        stepped = true; // meeting it has changed who asks: that is worth one more question
      } else {
        throw new Refused(d, task, unmet.length ? new Unmet(unmet.join("; ")) : undefined);
      }
    }
  }

  /** Adds which obligations can be met here, so that the service need not allow what would be refused here. */
  #declare(q: Request, shapes: boolean, canTry: boolean): Request {
    if (this.#client.forAgent || q.observed && Object.hasOwn(q.observed, "supported_obligations")) return q;
    const types = [...this.#handlers.keys()].filter((n) => (shapes || n !== "mask") && (canTry || n !== "dry-run")).sort();
    return { ...q, observed: { ...q.observed, supported_obligations: types } };
  }

  /**
   * Meets all obligations that it can, but those of prior, and returns which those are, why not the others, and which say nothing of how the
   * act happens. All of them are tried, also if one cannot be met, and of a refusal too.
   */
  async #meet(q: Request, d: Decision, terms: Terms, prior: readonly string[]): Promise<{ met: string[]; unmet: string[]; lasting: string[] }> {
    const met: string[] = [];
    const lasting: string[] = [];
    const unmet: string[] = [];
    const seen = new Set<string>();
    if (d.obligations.length > maxDuties) unmet.push(`the answer has ${d.obligations.length} obligations, more than ${maxDuties}`);
    for (const o of d.obligations.slice(0, maxDuties)) {
      try {
        const { id, name, custom, properties } = nameOf(o);
        if (seen.has(id)) throw new Unmet("it is malformed: its id is that of another");
        seen.add(id);
        const handler = this.#handlers.get(name) ?? (custom ? this.#handlers.get("custom") : undefined);
        if (handler === undefined) throw new Unmet("nobody here knows how");
        const words = write(o);
        const shapes = terms.shapes.length;
        if (!prior.includes(words)) await inTime(async () => handler(new Duty(id, name, properties, q, d, this.#client.now, terms)), this.#options.timeout ?? 60_000);
        met.push(id);
        if (terms.shapes.length === shapes && !terms.tries) lasting.push(words);
      } catch (e) {
        const [id, type] = isObject(o) ? [textOf(o, "id"), textOf(o, "type")] : ["", ""];
        unmet.push(`obligation "${printable(id, 64)}" of type "${printable(type, 64)}" is not met: ${e instanceof Error ? e.message : "it failed"}`);
      }
    }
    return { met, unmet, lasting };
  }
}

/** A time, by the wall clock and by the one that only goes on. */
interface Moment {
  wall: number;
  steady: number;
}

const moment = (c: Client): Moment => ({ wall: c.now(), steady: performance.now() });

/** Returns how many milliseconds have passed: by the wall clock if a machine that slept has stopped the other one. */
function age(since: Moment, c: Client): number {
  const now = moment(c);
  return Math.max(now.wall - since.wall, now.steady - since.steady);
}

const stale = (d: Decision, task: Task | undefined): Refused => refused(d, "permit_stale", "The act was permitted too long ago: ask again.", task);

/** Calls f, and fails if it takes longer. */
async function inTime(f: () => Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Unmet("it took too long")), ms);
  });
  try {
    await Promise.race([f(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Returns a copy of what is JSON, so that nothing changes after it was asked about. */
function snapshot(v: unknown, what: string): JsonObject {
  try {
    const m = parse(write(v));
    if (isPlain(v) && isObject(m)) return m;
  } catch (e) {
    if (!(e instanceof Malformed)) throw e;
  }
  throw new InvalidError(`${what} are no plain JSON object`);
}

function frozen(q: Request, subject: Entity | undefined): Request {
  const who = q.subject ?? subject;
  const copy = (e: Entity): Entity => snapshot(e, "subject and resource") as unknown as Entity;
  return {
    action: q.action, resource: copy(q.resource), properties: snapshot(q.properties ?? {}, "the properties"), context: snapshot(q.context ?? {}, "the members of the context"),
    observed: snapshot(q.observed ?? {}, "what was observed"), onBehalfOf: (q.onBehalfOf ?? []).map(copy), ...(who ? { subject: copy(who) } : {}),
    ...(q.presented ? { presented: { ...q.presented } } : {}),
  };
}

function refused(d: Decision, code: string, message: string, task: Task | undefined): Refused {
  return new Refused(new Decision({ ...d, effect: "refuse", code }), task, new ForbiddenError(message));
}

function sizeOf(result: unknown): number | undefined {
  if (result instanceof Uint8Array) return result.length;
  if (typeof result === "string") return Buffer.byteLength(result);
  try {
    return result === undefined ? 0 : Buffer.byteLength(write(result));
  } catch {
    return undefined;
  }
}
