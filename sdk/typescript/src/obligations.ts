// Meeting the obligations of a decision (AuthZEN obligations profile, draft 1): before the act, or not at all.

import type { Decision, Request } from "./client.js";
import { isObject, isPlain, type JsonObject, maxDepth, member, parse, put, RawNumber, textOf, write } from "./json.js";
import { instant } from "./keys.js";

const maxProperties = 64 << 10;
const maxFields = 64;
const maxField = 256;
const maxLogged = 256;
const maxDelay = 48 * 3600_000;

/** An obligation cannot be met. */
export class Unmet extends Error {}

export type Shape = (result: unknown) => unknown;

/** How an act may happen, as its obligations say. */
export interface Terms {
  canTry: boolean;
  canShape: boolean;
  tries: boolean;
  shapes: { id: string; f: Shape }[];
  until: number; // to be waited for
}

/** One obligation that is to be met. What it says comes from the service, and may repeat what an agent wrote. */
export class Duty {
  readonly #terms: Terms;

  /** @internal */
  constructor(
    readonly id: string,
    /** for custom ones the name in their property "obligation" */
    readonly type: string,
    readonly properties: Readonly<JsonObject>,
    readonly request: Request,
    readonly decision: Decision,
    readonly now: () => number,
    terms: Terms,
  ) {
    this.#terms = terms;
  }

  /** Whether an act is to happen if all obligations are met: the decision is no refusal. */
  get act(): boolean {
    return this.decision.effect === "allow";
  }

  /** Has f change the result of the act before anybody sees it. If f throws, nobody sees it. */
  result(f: Shape): void {
    if (this.act && !this.#terms.canShape) throw new Unmet("nobody here applies it to the result of the act");
    this.#terms.shapes.push({ id: this.id, f });
  }

  /** Has the act be tried only. */
  dryRun(): void {
    if (this.act && !this.#terms.canTry) throw new Unmet("nobody here knows how to try this act without doing it");
    this.#terms.tries = true;
  }

  /** Has the act, or the refusal, wait until that moment, in milliseconds since 1970. */
  wait(until: number): void {
    this.#terms.until = Math.max(this.#terms.until, until);
  }

  /** Refuses properties with members of other names: what is not understood is not met. */
  only(...names: string[]): void {
    if (Object.keys(this.properties).some((n) => n !== "obligation" && !names.includes(n))) throw new Unmet("it is malformed: it has members that are not understood");
  }
}

/** Meets one obligation, or throws. It is called for refusals too. */
export type Handler = (duty: Duty) => void | Promise<void>;
/** Handlers by the names of what they meet. */
export type Handlers = Readonly<Record<string, Handler>>;
export type Level = "debug" | "info" | "warn" | "error";
/** Takes an entry of a log, or throws. */
export type Log = (level: Level, message: string, entry: Record<string, string>) => void;

/** Returns handlers of the types that need nothing else: mask, cap, dry-run, delay of at most a minute and, with a log, log. */
export function builtIn(log?: Log): Record<string, Handler> {
  return { mask: meetMask, cap: meetCap, "dry-run": meetDryRun, delay: meetDelay(60_000), ...(log ? { log: meetLog(log) } : {}) };
}

/** Returns id, the name by which an obligation is met, and its properties. Throws Unmet if it is malformed. */
export function nameOf(o: unknown): { id: string; name: string; custom: boolean; properties: JsonObject } {
  const properties = isObject(o) ? member(o, "properties") : undefined;
  if (!isObject(o) || !textOf(o, "id") || !textOf(o, "type") || !isObject(properties)) throw new Unmet("it is malformed: id, type and properties must be there");
  if (Object.keys(o).length !== 3) throw new Unmet("it is malformed: it has members that are not understood");
  if (Buffer.byteLength(write(properties)) > maxProperties) throw new Unmet(`it has more than ${maxProperties} bytes`);
  const type = textOf(o, "type");
  const required = new Map([["step-up", ["acr_value"]], ["notification", ["to", "body"]], ["session_termination", ["subject"]]]);
  for (const name of required.get(type) ?? []) {
    if (!textOf(properties, name)) throw new Unmet(`it is malformed: it lacks ${name}`);
  }
  const custom = type === "custom";
  return { id: textOf(o, "id"), name: custom ? textOf(properties, "obligation") || type : type, custom, properties };
}

// --- mask ---

/**
 * Hides "fields" of the result: names, each of which means every member of that name, or JSON pointers (RFC 6901). Names are the same
 * in upper and in lower case. What stands there becomes the text "with", or ***. The result is what JSON has (plain objects, arrays, texts, numbers, null), or a text or bytes that
 * are JSON. Anything else cannot be masked and is withheld, and so is what has a name twice or is nested too deep.
 */
export function meetMask(d: Duty): void {
  d.only("fields", "with");
  const fields = member(d.properties, "fields");
  const instead = member(d.properties, "with") ?? "***";
  if (!Array.isArray(fields) || !fields.length || fields.length > maxFields || typeof instead !== "string" || Buffer.byteLength(instead) > maxField) {
    throw new Unmet("it is malformed: it has no fields, too many, or too much to put in their place");
  }
  const names = new Set<string>();
  const places = new Set<string>();
  for (const f of fields) {
    const at = tokens(f);
    if (at === undefined) names.add(fold(f as string));
    else places.add(JSON.stringify(at.map(fold)));
  }
  d.result((result) => {
    if (typeof result === "string") return write(masked(parse(result, true), names, places, instead, []));
    if (result instanceof Uint8Array) return Buffer.from(write(masked(parse(result, true), names, places, instead, [])));
    return result === undefined ? undefined : masked(result, names, places, instead, []);
  });
}

function masked(v: unknown, names: Set<string>, places: Set<string>, instead: string, at: string[]): unknown {
  if (places.has(JSON.stringify(at))) return instead;
  if (at.length > maxDepth) throw new Unmet(`the result is nested deeper than ${maxDepth}`);
  if (v === null || v instanceof RawNumber || typeof v === "string" || typeof v === "number" || typeof v === "boolean" || typeof v === "bigint") return v;
  if (Array.isArray(v)) return Array.from(v as unknown[], (below, i) => (below === undefined ? null : masked(below, names, places, instead, [...at, String(i)])));
  if (isPlain(v)) {
    const out = {};
    for (const name of Object.keys(v)) {
      const below = v[name];
      const folded = fold(name);
      if (below !== undefined) put(out, name, names.has(folded) ? instead : masked(below, names, places, instead, [...at, folded]));
    }
    return out;
  }
  throw new Unmet(`the result has a ${typeof v}, which is no JSON`);
}

/** Returns a name so that those are the same that differ by upper and lower case only: none is left that Unicode's simple folding makes the same. */
function fold(name: string): string {
  if (/^[\0-\x7f]*$/.test(name)) return name.toUpperCase();
  return Array.from(name, (c) => c.toUpperCase().toLowerCase().toUpperCase()).join("");
}

/** Returns the reference tokens of a JSON pointer, undefined if the field is a name. */
function tokens(f: unknown): string[] | undefined {
  if (typeof f !== "string" || !f || Buffer.byteLength(f) > maxField) throw new Unmet("it is malformed: a field is no short text");
  if (!f.startsWith("/")) return undefined;
  if (/~(?![01])/.test(f)) throw new Unmet("it is malformed: a field is no JSON pointer");
  return f.slice(1).split("/").map((t) => t.replaceAll("~1", "/").replaceAll("~0", "~"));
}

// --- the others ---

/**
 * Lets the act happen only if "argument", a name or JSON pointer of the action's properties, is at most "most". All members of that
 * name count. One that is not there, or is no decimal number without sign, refuses. Names are the same in upper and in lower case, and
 * where two in one object differ by that only, readers differ in which of the two counts: that refuses.
 */
export function meetCap(d: Duty): void {
  d.only("argument", "most");
  const most = member(d.properties, "most");
  const argument = member(d.properties, "argument");
  if (typeof most !== "string" || amount(most) === undefined) throw new Unmet("it is malformed: most is no decimal number as text");
  tokens(argument);
  if (!d.act) return;
  const { found, twice } = lookup(d.request.properties ?? {}, argument as string);
  if (twice) throw new Unmet("the argument stands there in two cases, which could be read in two ways");
  if (!found.length) throw new Unmet("the act has no such argument");
  for (const v of found) {
    const more = compare(v, most);
    if (more === undefined) throw new Unmet("the argument is no decimal number that is not negative");
    if (more > 0) throw new Unmet(`the argument is more than ${most}`);
  }
}

/** Reads a decimal number without sign and exponent, exactly: its digits before and after the point. */
function amount(v: unknown): [string, string] | undefined {
  const text = typeof v === "number" || typeof v === "bigint" ? String(v) : v;
  const m = typeof text === "string" && text.length <= 64 ? /^([0-9]+)(?:\.([0-9]+))?$/.exec(text) : null;
  return m === null ? undefined : [m[1]!, m[2] ?? ""];
}

function compare(a: unknown, b: unknown): number | undefined {
  const [x, y] = [amount(a), amount(b)];
  if (x === undefined || y === undefined) return undefined;
  const places = Math.max(x[1].length, y[1].length);
  const [p, q] = [BigInt(x[0] + x[1].padEnd(places, "0")), BigInt(y[0] + y[1].padEnd(places, "0"))];
  return p < q ? -1 : p > q ? 1 : 0;
}

/** Has the act be tried only. */
export function meetDryRun(d: Duty): void {
  d.only();
  d.dryRun();
}

/**
 * Has the act wait "for" some time (90s, 2h, 1d), and not happen before "until". What takes longer than longest, in milliseconds, is not
 * waited for: the act is refused at once.
 */
export function meetDelay(longest: number): Handler {
  return (d) => {
    d.only("for", "until");
    const now = d.now();
    let until = 0;
    if (!Object.hasOwn(d.properties, "for") && !Object.hasOwn(d.properties, "until")) throw new Unmet("it is malformed: it says neither for how long nor until when");
    if (Object.hasOwn(d.properties, "until")) {
      const at = instant(d.properties["until"]);
      if (at === undefined) throw new Unmet("it is malformed: until is no time of RFC 3339");
      until = at.getTime();
    }
    if (Object.hasOwn(d.properties, "for")) until = Math.max(until, now + length(d.properties["for"]));
    const most = Math.min(longest, maxDelay);
    if (until - now > most) throw new Unmet(`it is longer than the ${most / 1000} seconds that are waited here`);
    d.wait(until);
  };
}

const units = new Map([["h", 3600_000], ["m", 60_000], ["s", 1000], ["ms", 1]]);

/** Reads a length of time as the catalog has it: 90s, 15m, 1h30m, or whole days. */
function length(s: unknown): number {
  let total = 0;
  if (typeof s === "string" && /^[0-9]{1,4}d$/.test(s)) {
    total = Number(s.slice(0, -1)) * 86_400_000;
  } else if (typeof s === "string" && s.length <= 32 && /^(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+$/.test(s)) {
    for (const m of s.matchAll(/([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)/g)) total += Number(m[1]) * units.get(m[2]!)!;
  }
  if (!(total > 0)) throw new Unmet("it is malformed: it has no length of time");
  return total;
}

/** Logs what was decided, and of the act's arguments the "fields", at the "level" debug, info (the default), warn or error. */
export function meetLog(log: Log): Handler {
  return (d) => {
    d.only("fields", "level");
    const fields = member(d.properties, "fields") ?? [];
    const level = member(d.properties, "level") ?? "info";
    if (level !== "debug" && level !== "info" && level !== "warn" && level !== "error" || !Array.isArray(fields) || fields.length > maxFields) {
      throw new Unmet("it is malformed: there is no such level, or there are too many fields");
    }
    const q = d.request;
    const entry: Record<string, string> = {
      obligation: d.id, decision: d.decision.id, allowed: String(d.act), code: d.decision.code, subject: q.subject ? `${q.subject.type}:${q.subject.id}` : "",
      action: q.action, resource: `${q.resource.type}:${q.resource.id}`,
    };
    for (const f of fields) {
      tokens(f);
      for (const v of lookup(q.properties ?? {}, f as string).found.slice(0, maxFields)) entry[`argument ${f as string}`] = typeof v === "string" ? v : write(v);
    }
    log(level, "obliged to log", Object.fromEntries(Object.entries(entry).map(([n, v]) => [loggable(n), loggable(v)])));
  };
}

/** Returns s, clipped, with a ? for what is no printable character: controls, bidirectional overrides. */
function loggable(s: string): string {
  const clipped = Array.from(s.slice(0, maxLogged)).join("") + (s.length > maxLogged ? "..." : "");
  return clipped.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?");
}

/** Returns the values that a field, a name or a JSON pointer, means in the arguments, and whether two names in one object, which differ by case only, are meant. */
function lookup(properties: unknown, f: string): { found: unknown[]; twice: boolean } {
  const at = tokens(f);
  const out = { found: [] as unknown[], twice: false };
  if (at === undefined) {
    members(properties, fold(f), out);
    return out;
  }
  out.found = [properties];
  for (const t of at) {
    out.found = out.found.flatMap((v) => {
      if (Array.isArray(v)) return /^(0|[1-9][0-9]{0,8})$/.test(t) && Number(t) < v.length ? [(v as unknown[])[Number(t)]] : [];
      if (!isPlain(v)) return [];
      const here = Object.keys(v).sort().filter((n) => fold(n) === fold(t));
      out.twice ||= here.length > 1;
      return here.map((n) => v[n]);
    });
  }
  return out;
}

function members(v: unknown, folded: string, out: { found: unknown[]; twice: boolean }): void {
  if (Array.isArray(v)) {
    for (const below of v as unknown[]) members(below, folded, out);
  } else if (isPlain(v)) {
    let here = 0;
    for (const n of Object.keys(v).sort()) {
      if (fold(n) !== folded) members(v[n], folded, out);
      else if (out.found.push(v[n]) && ++here > 1) out.twice = true;
    }
  }
}
