// HTTP that is bounded: no redirect is followed, an answer has so many bytes at most, and a request ends in time.

import { InvalidError, kindOf, type SafeconductError, UnavailableError } from "./errors.js";
import { isObject, type JsonObject, member, parse, textOf } from "./json.js";

export const maxAnswer = 4 << 20;
export const defaultTimeout = 10_000;
const userAgent = "safeconduct-typescript";

/** How requests are done. */
export interface HttpOptions {
  /** of one request, in milliseconds: 10 s by default */
  timeout?: number;
  /** how often at most something is asked while the service is unavailable: 3 by default */
  attempts?: number;
  /** the clock, in milliseconds since 1970: Date.now by default */
  now?: () => number;
  /** waits: by a timer, by default */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: Uint8Array;
}

export interface Sending {
  method: string;
  url: string;
  headers?: Record<string, string>;
  body?: string;
  most?: number;
  signal?: AbortSignal | undefined;
}

const loopback = /^(localhost|\[::1\]|127(\.[0-9]{1,3}){3})$/;

/** Returns an http or https URL that names a host and no user, undefined of anything else. */
export function split(url: unknown): URL | undefined {
  if (typeof url !== "string" || !/^https?:\/\/[!-~]+$/i.test(url) || url.includes("\\")) return undefined;
  let u: URL;
  try {
    u = new URL(url);
  } catch {
    return undefined;
  }
  return u.username || u.password || /^[^/]*\/\/[^/?#]*@/.test(url) ? undefined : u;
}

/** Reports whether what is said to u stays between us and it. */
export const safe = (u: URL): boolean => u.protocol === "https:" || loopback.test(u.hostname);

/** Sends one request. Throws UnavailableError if there was no answer, or not all of one. */
export async function send(s: Sending, timeout = defaultTimeout): Promise<Answer> {
  if (split(s.url) === undefined) throw new InvalidError("what was to be asked is no http or https URL");
  s.signal?.throwIfAborted();
  const limit = AbortSignal.timeout(timeout);
  const signal = s.signal ? AbortSignal.any([s.signal, limit]) : limit;
  const most = s.most ?? maxAnswer;
  try {
    const r = await fetch(s.url, {
      method: s.method, redirect: "manual", signal, headers: { Accept: "application/json", "User-Agent": userAgent, ...s.headers },
      ...(s.body === undefined ? {} : { body: s.body }),
    });
    const chunks: Uint8Array[] = [];
    let size = 0;
    if (r.body) {
      for await (const chunk of r.body as AsyncIterable<Uint8Array>) {
        size += chunk.length;
        if (size > most) throw new UnavailableError(`the service's answer has more than ${most} bytes`); // which cancels the stream
        chunks.push(chunk);
      }
    }
    return { status: r.status, headers: r.headers, body: Buffer.concat(chunks) };
  } catch (e) {
    if (e instanceof UnavailableError) throw e;
    if (s.signal?.aborted) throw s.signal.reason;
    const inner = e instanceof Error && e.cause instanceof Error ? e.cause : e;
    throw new UnavailableError(`asking the service: ${limit.aborted ? "no answer in time" : inner instanceof Error ? inner.message : "failed"}`, { cause: e });
  }
}

/** Waits, until the signal aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, Math.min(Math.max(ms, 0), 0x7fffffff));
    signal?.addEventListener("abort", stop, { once: true });
  });
}

const maxPause = 5_000; // of what a service may ask for: if it wants more, it is not asked again

/** Calls f until it succeeds, at most so often, as long as it says that something is unavailable. The pauses are never shorter than the service wants. */
export async function retry<T>(attempts: number, f: () => Promise<T>, signal?: AbortSignal, wait = sleep): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let wanted = 0;
    try {
      return await f();
    } catch (e) {
      if (!(e instanceof UnavailableError) || attempt >= attempts || e.retryAfter > maxPause) throw e;
      wanted = e.retryAfter;
    }
    await wait(Math.max(50 * attempt, wanted) + Math.random() * 50, signal);
  }
}

/** Returns how many milliseconds a service wants to be left alone, 0 if it does not say. */
export function retryAfter(v: string | null, now: number): number {
  if (v === null) return 0;
  if (/^[0-9]{1,9}$/.test(v)) return Number(v) * 1000;
  const at = Date.parse(v);
  return Number.isNaN(at) ? 0 : Math.max(at - now, 0);
}

/** Returns at most so many characters of what a server wrote, of those that fit in a line. */
export function printable(s: unknown, most: number): string {
  return typeof s === "string" ? s.slice(0, most).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " ") : "";
}

const problem = "urn:openid:authzen:access-request:error:";

/** Returns the error of an answer that is not as wished. */
export function refusal(a: Answer): SafeconductError {
  let code = "";
  let message = "";
  let requestId = "";
  const body = tryObject(a.body);
  const inner = body && member(body, "error");
  if (isObject(inner)) {
    [code, message, requestId] = [printable(textOf(inner, "code"), 80), printable(textOf(inner, "message"), 500), printable(textOf(inner, "request_id"), 128)];
  } else if (body && a.headers.get("content-type")?.split(";")[0]?.trim() === "application/problem+json") { // RFC 9457
    code = printable(textOf(body, "type"), 200).replace(problem, "");
    message = printable(textOf(body, "detail") || textOf(body, "title"), 500);
    requestId = printable(a.headers.get("x-request-id"), 128);
  }
  if (!message) {
    message = `the service answered with status ${a.status}`;
    if (a.status >= 300 && a.status < 400) message += ": a redirect, which is not followed";
  }
  return new (kindOf(a.status))(message, { status: a.status, code, requestId, retryAfter: retryAfter(a.headers.get("retry-after"), Date.now()) });
}

export function tryObject(body: Uint8Array): JsonObject | undefined {
  try {
    const m = parse(body);
    return isObject(m) ? m : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the JSON object of an answer. Throws UnavailableError. */
export function objectOf(body: Uint8Array, exact = false): JsonObject {
  let m: unknown;
  try {
    m = parse(body, exact);
  } catch (e) {
    throw new UnavailableError(`the service's answer cannot be read: ${(e as Error).message}`);
  }
  if (!isObject(m)) throw new UnavailableError("the service's answer is no JSON object");
  return m;
}
