/** The JSON API, typed by its OpenAPI document. The pages know nothing that it does not say. */

import createClient from 'openapi-fetch';
import type { components, paths } from '../api/schema';
import { roles as routeRoles, type Route } from '../api/roles';
import { base } from './here';
import { session } from './session.svelte';

/** The types of what the API takes and answers, by their names in the document. */
export type Schemas = components['schemas'];

/** api makes requests: `ok(api.GET('/v1/agents', { params: { query: { limit: 50 } }, signal }))`. */
export const api = createClient<paths>({ baseUrl: base, credentials: 'same-origin' });

api.use({
  onRequest({ request }) {
    // What changes something must show that a page of ours sent it.
    if (request.method !== 'GET' && request.method !== 'HEAD') request.headers.set('X-Safeconduct-Request', '1');
    // A page that asks by itself, with nobody there, does not keep the session.
    else if (session.background) request.headers.set('X-Safeconduct-Background', '1');
    return request;
  },
});

/** A Failure is an answer that is an error, or none at all (status 0). */
export class Failure extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly request?: string, // the request's id, to find it in the service's log
  ) {
    super(message);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** ok waits for an answer and returns what it holds, or throws a Failure. */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  let a: Answer<T>;
  try {
    a = await answer;
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new Failure(0, 'unreachable', 'The service cannot be reached.');
  }
  if (a.response.ok) return a.data as T;
  if (a.response.status === 401) session.ended();
  throw failure(a.response, a.error);
}

/** failure makes a Failure of an answer's body: our own form, or RFC 9457's. */
export function failure(r: Response, body: unknown): Failure {
  const b = (body ?? {}) as { error?: { code?: string; message?: string }; title?: string; detail?: string };
  const message = b.error?.message ?? b.detail ?? b.title ?? `The service answered ${r.status} ${r.statusText}`;
  return new Failure(r.status, b.error?.code ?? String(r.status), message, r.headers.get('X-Request-Id') ?? undefined);
}

/** may reports whether who is signed in may call a route. The API decides; this only hides what it would refuse. */
export function may(route: Route): boolean {
  const allowed = (routeRoles as Record<string, readonly string[]>)[route];
  return !allowed || session.roles.some((r) => allowed.includes(r));
}

/** say is what went wrong, in one sentence, for people. */
export function say(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
