// An agent, seen from its own side: its key, and the tokens that are bound to it.

import { inspect } from "node:util";
import { ForbiddenError, InvalidError, kindOf, NotFoundError, SafeconductError, UnauthenticatedError, UnavailableError } from "./errors.js";
import { type Answer, defaultTimeout, type HttpOptions, objectOf, printable, refusal, retry, safe, send, split, tryObject } from "./http.js";
import { isObject, type JsonObject, member, textOf, write } from "./json.js";
import { type Algorithm, draw, hash, instant, Key, proof, readKeyFile, saveKeyFile } from "./keys.js";

const maxOAuth = 1 << 20;
const maxToken = 16 << 10;
const maxLife = 24 * 3600;
const metadataAge = 3600_000;
const maxSources = 64;
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token";

/** What a token is wanted for. Of what is left out the server decides. */
export interface TokenPurpose {
  /** ids of capabilities */
  scope?: readonly string[];
  /** capabilities with narrower limits (RFC 9396) */
  details?: readonly Record<string, unknown>[];
  /** the one resource server that the token is for (RFC 8707) */
  resource?: string;
  /** where the token may be sent: the origin of resource, if it is not said */
  origin?: string;
  /** the one agent that may exchange the token for one of its own: whoever is named can act for this agent */
  mayAct?: string;
  /** of the token's signature, if the resource server cannot verify every one */
  algorithm?: Algorithm;
}

/** Which capability a token does not carry, and why. */
export interface TokenRefusal {
  capability: string;
  code: string;
  message: string;
}

/** An access token that is bound to the agent's key. Printed, it does not show itself. */
export class Token {
  readonly #value: string;
  readonly #key: Key;
  readonly #now: () => number;
  readonly type = "DPoP";
  /** by our clock, at the latest */
  readonly expires: Date;
  readonly scope: readonly string[];
  readonly refused: readonly TokenRefusal[];
  /** @internal */ readonly asked: number;
  /** @internal */ readonly refreshAt: number;
  /** @internal */ readonly useUntil: number;
  /** @internal */ renewed = false;

  /** @internal */
  constructor(value: string, key: Key, now: () => number, asked: number, life: number, scope: readonly string[], refused: readonly TokenRefusal[]) {
    this.#value = value;
    this.#key = key;
    this.#now = now;
    this.asked = asked;
    this.expires = new Date(asked + life);
    // Another one is got when a fifth of the life is left, a minute at most; in its last seconds a
    // token is not shown, lest it ends on its way.
    this.refreshAt = asked + life - Math.min(life / 5, 60_000);
    this.useUntil = asked + life - Math.min(life / 20, 5_000);
    this.scope = scope;
    this.refused = refused;
  }

  /** The token itself, a secret while it lives. */
  get value(): string {
    return this.#value;
  }

  /** Returns a DPoP proof (RFC 9449) for one request by that method to that URL. It counts once. */
  proof(method: string, url: string, nonce = ""): Promise<string> {
    return proof(this.#key, method, url, nonce, this.#value, this.#now());
  }

  toString(): string {
    return `DPoP token for ${this.scope.join(" ")} until ${this.expires.toISOString()}`;
  }
  toJSON(): string {
    return this.toString();
  }
  [inspect.custom](): string {
    return `<${this.toString()}>`;
  }
}

/** One request that is sent with a token. */
export interface Sent {
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal | undefined;
}

const fits = (nonce: string): boolean => /^[!#-[\]-~]{1,512}$/.test(nonce);

/**
 * A source of tokens for one purpose. It keeps the newest, gets another one before that ends, and asks the server once
 * however many callers wait. Tokens go to its origin and nowhere else.
 */
export class Tokens {
  readonly #agent: Agent;
  readonly #fetch: () => Promise<Token>;
  readonly #to: string;
  #current: Token | undefined;
  #flight: Promise<Token> | undefined;
  #paused = 0;
  #nonce = ""; // the newest of the resource server

  /** @internal */
  constructor(agent: Agent, fetch: () => Promise<Token>, to: string) {
    this.#agent = agent;
    this.#fetch = fetch;
    this.#to = to;
  }

  /** Returns a token that can be used now. Mostly it is at hand. */
  async token(): Promise<Token> {
    const now = this.#agent.now();
    const t = this.#current;
    if (t === undefined || now >= t.useUntil) return this.#fly(false);
    if (now >= t.refreshAt && this.#flight === undefined && now >= this.#paused) this.#fly(false).catch(() => {}); // in the background: the next caller learns
    return t;
  }

  /** Returns another token than the one that a resource server refused. To one that was renewed within the last half minute it does no more. */
  async renew(refused: Token): Promise<Token> {
    const now = this.#agent.now();
    const t = this.#current;
    if (t !== undefined && t !== refused && now < t.useUntil) return t;
    if (refused.renewed && now - refused.asked < 30_000) return refused;
    if (t === refused) this.#current = undefined;
    return this.#fly(true);
  }

  #fly(renewed: boolean): Promise<Token> {
    this.#flight ??= this.#fetch().then(
      (t) => {
        t.renewed = renewed;
        this.#current = t;
        this.#flight = undefined;
        return t;
      },
      (e: unknown) => {
        this.#paused = this.#agent.now() + 2_000;
        this.#flight = undefined;
        throw e;
      },
    );
    return this.#flight;
  }

  /** Returns the headers Authorization and DPoP for one request. A URL of another origin is refused: ForbiddenError. */
  async headers(method: string, url: string): Promise<{ Authorization: string; DPoP: string }> {
    this.#leads(url);
    return this.#headers(await this.token(), method, url);
  }

  #leads(url: string): void {
    if (!this.#to) throw new InvalidError("these tokens are for no origin that is known: say resource or origin when asking for them");
    const u = split(url);
    if (u === undefined || u.origin !== this.#to) throw new ForbiddenError(`a request to ${u?.origin ?? "that"} is refused: the token is for ${this.#to}`);
  }

  async #headers(t: Token, method: string, url: string): Promise<{ Authorization: string; DPoP: string }> {
    return { Authorization: `DPoP ${t.value}`, DPoP: await t.proof(method, url, this.#nonce) };
  }

  /**
   * Sends one request with the token and a proof. Once it answers a demand for a nonce, and once the refusal of a token with a
   * fresh one. Redirects are not followed.
   */
  async send(method: string, url: string, s: Sent = {}): Promise<Answer> {
    this.#leads(url);
    let t = await this.token();
    for (let nonced = false, renewed = false; ; ) {
      const sent = this.#nonce;
      const a = await send({ method, url, ...s, headers: { ...s.headers, ...(await this.#headers(t, method, url)) } }, this.#agent.timeout);
      this.learn(a.headers.get("dpop-nonce") ?? "");
      const code = a.status === 401 ? challenge(a.headers.get("www-authenticate") ?? "") : undefined;
      if (code === "use_dpop_nonce" && !nonced && this.#nonce !== sent) {
        nonced = true;
      } else if ((code === "invalid_token" || code === "") && !renewed) {
        const fresh = await this.renew(t);
        if (fresh === t) return a;
        t = fresh;
        renewed = true;
      } else {
        return a;
      }
    }
  }

  /** Keeps the nonce of a resource server's DPoP-Nonce header, for whoever sends requests by other means. */
  learn(nonce: string): void {
    if (fits(nonce)) this.#nonce = nonce;
  }
}

/**
 * Returns the error of the first challenge of the scheme DPoP (RFC 9449, section 7.1), "" if it names none, undefined if there is
 * no such challenge.
 */
export function challenge(header: string): string | undefined {
  let ours = false;
  let found = false;
  for (const m of header.slice(0, 8192).matchAll(/([^\s,="]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g)) {
    if (m[2] === undefined && m[3] === undefined) { // no parameter: a scheme
      if (found) break;
      ours = m[1]!.toLowerCase() === "dpop";
      found ||= ours;
    } else if (ours && m[1]!.toLowerCase() === "error") {
      return m[2]?.replace(/\\(.)/g, "$1") ?? m[3];
    }
  }
  return found ? "" : undefined;
}

/**
 * A registered agent: the authorization server that knows it, its id there, and its private key. It authenticates by
 * private_key_jwt (RFC 7523) and binds its tokens to the key by DPoP (RFC 9449).
 */
export class Agent {
  readonly issuer: string;
  readonly id: string;
  readonly timeout: number;
  readonly now: () => number;
  #key: Key;
  #file = "";
  #expires: Date | undefined;
  readonly #attempts: number;
  #nonce = ""; // the newest of the authorization server
  #found: { metadata: JsonObject; at: number } | undefined;
  readonly #sources = new Map<string, Tokens>();

  constructor(issuer: string, id: string, key: Key, options: HttpOptions = {}) {
    issuerURL(issuer);
    if (!id) throw new InvalidError("an agent has an id");
    this.issuer = issuer;
    this.id = id;
    this.#key = key;
    this.timeout = options.timeout ?? defaultTimeout;
    this.#attempts = options.attempts ?? 3;
    this.now = options.now ?? Date.now;
  }

  /** Returns the agent whose key, issuer and id stand in a key file, as `safeconduct token enroll` makes it. */
  static async load(file: string, options: HttpOptions = {}): Promise<Agent> {
    const k = await readKeyFile(file);
    if (!k.issuer || !k.agent) {
      throw new InvalidError(`${file} does not say whose key it is`, { code: "incomplete", hint: "enrol the agent, which makes such a file" });
    }
    const a = new Agent(k.issuer, k.agent, k.key, options);
    a.#file = file;
    a.#expires = k.expires;
    return a;
  }

  /**
   * Registers an agent's first key by an enrolment token that an administrator made, and returns the agent. The key is made
   * here and is durable in its file before the server hears of it. The file must not exist; one that a failed enrolment at
   * the same issuer left behind is used again.
   */
  static async enrol(e: { issuer: string; token: string; file: string; algorithm?: Algorithm }, options: HttpOptions = {}): Promise<Agent> {
    if (!e.token) throw new InvalidError("an enrolment needs the token that an administrator made for it");
    const timeout = options.timeout ?? defaultTimeout;
    await discover(e.issuer, timeout); // is it who it should be, before it sees the token
    const left = await readKeyFile(e.file).catch((err: unknown) => {
      if (err instanceof InvalidError || err instanceof NotFoundError) return undefined;
      throw err;
    });
    let key: Key;
    if (left && !left.agent && left.issuer === e.issuer) {
      key = left.key;
    } else {
      key = await Key.generate(e.algorithm);
      await saveKeyFile(e.file, { key, issuer: e.issuer, agent: "", expires: undefined }, true);
    }
    const m = await retry(options.attempts ?? 3, () => register(e.issuer, e.token, key, options.now ?? Date.now, timeout));
    await saveKeyFile(e.file, { key, issuer: e.issuer, agent: textOf(m, "client_id"), expires: instant(member(m, "expires_at")) }, false);
    return Agent.load(e.file, options);
  }

  /** The id of the key in use, its RFC 7638 thumbprint. */
  get keyId(): string {
    return this.#key.id;
  }
  /** When the key in use expires, undefined if it does not or that is not known. */
  get expires(): Date | undefined {
    return this.#expires;
  }

  /** Returns what the authorization server says of itself (RFC 8414), asking it at most once an hour. */
  async metadata(): Promise<JsonObject> {
    const now = this.now();
    if (this.#found && now - this.#found.at < metadataAge) return this.#found.metadata;
    const metadata = await retry(this.#attempts, () => discover(this.issuer, this.timeout));
    accepts(metadata, this.#key.algorithm);
    this.#found = { metadata, at: now };
    return metadata;
  }

  /** Returns the source of tokens by client credentials for that purpose; asked for the same, it is the same source. */
  tokens(p: TokenPurpose = {}): Tokens {
    const form = wanted(p);
    const to = originOf(p.origin ?? p.resource);
    const at = write([to, Object.entries(form).sort()]);
    let source = this.#sources.get(at);
    this.#sources.delete(at);
    if (source === undefined) {
      source = new Tokens(this, () => this.#grant({ grant_type: "client_credentials", ...form }, p.scope ?? []), to);
      const oldest = this.#sources.keys().next();
      if (this.#sources.size >= maxSources && !oldest.done) this.#sources.delete(oldest.value);
    }
    this.#sources.set(at, source); // the newest last
    return source;
  }

  /** Returns a token that can be used now. */
  token(p: TokenPurpose = {}): Promise<Token> {
    return this.tokens(p).token();
  }

  /**
   * Returns a source of tokens by which the agent acts for the subject of another token, which names it as the one that may
   * act (RFC 8693). It fails once that token has ended.
   */
  delegated(subjectToken: string, p: TokenPurpose = {}): Tokens {
    const form = { grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", subject_token: subjectToken, subject_token_type: accessTokenType, ...wanted(p) };
    return new Tokens(this, () => this.#grant(form, p.scope ?? []), originOf(p.origin ?? p.resource));
  }

  /** Gets one token by which the agent acts for the subject of another token. */
  exchange(subjectToken: string, p: TokenPurpose = {}): Promise<Token> {
    return this.delegated(subjectToken, p).token();
  }

  /** Takes back a token of the agent, and every token that was made from it (RFC 7009). */
  async revoke(token: string): Promise<void> {
    await this.#post("revocation_endpoint", "/oauth2/revoke", { token, token_type_hint: "access_token" }, false);
  }

  /** Asks what is true of a token now (RFC 7662). An agent may ask of its own only. */
  async introspect(token: string): Promise<JsonObject> {
    const [a] = await this.#post("introspection_endpoint", "/oauth2/introspect", { token, token_type_hint: "access_token" }, false);
    const m = objectOf(a.body);
    if (typeof member(m, "active") !== "boolean") throw new UnavailableError("the server's answer does not say whether the token is active");
    return m;
  }

  async #grant(form: Record<string, string>, scope: readonly string[]): Promise<Token> {
    const asked = this.now();
    const [a, key] = await this.#post("token_endpoint", "", form, true);
    return this.#token(objectOf(a.body), key, asked, scope);
  }

  /** Reads the answer of a token endpoint (RFC 6749, section 5.1). A token that is not bound to our key is refused. */
  #token(w: JsonObject, key: Key, asked: number, scope: readonly string[]): Token {
    const value = member(w, "access_token");
    const life = member(w, "expires_in");
    const issued = member(w, "issued_token_type");
    const granted = member(w, "scope");
    const iss = member(w, "iss");
    if (iss !== undefined && iss !== this.issuer) throw new ForbiddenError(`asked ${this.issuer}, and somebody else answered`, { code: "issuer_mismatch" });
    if (typeof value !== "string" || !/^[!-~]+$/.test(value) || value.length > maxToken) throw new UnavailableError("the server's answer has no token, or one that fits no header");
    if (textOf(w, "token_type").toLowerCase() !== "dpop") throw new ForbiddenError("the server gave a token that is not bound to the agent's key");
    if (issued !== undefined && issued !== accessTokenType && issued !== "urn:ietf:params:oauth:token-type:jwt") {
      throw new ForbiddenError("the server gave another thing than an access token");
    }
    if (typeof life !== "number" || !Number.isInteger(life) || life <= 0) throw new UnavailableError("the server does not say how long its token lives");
    if (granted !== undefined && typeof granted !== "string") throw new UnavailableError("the server's answer has a scope that is no text");
    const listed = member(w, "refused");
    const refused = (Array.isArray(listed) ? listed : []).filter(isObject).map((x) => ({
      capability: printable(textOf(x, "identifier"), 200), code: printable(textOf(x, "code"), 80), message: printable(textOf(x, "message"), 500),
    }));
    return new Token(value, key, this.now, asked, Math.min(life, maxLife) * 1000, granted?.split(" ").filter(Boolean) ?? scope, refused);
  }

  /** Sends a form as the agent. If the server refuses the key and its file holds another now, that is taken up. */
  async #post(endpoint: string, path: string, form: Record<string, string>, prove: boolean): Promise<[Answer, Key]> {
    const where = textOf(await this.metadata(), endpoint) || this.issuer.replace(/\/$/, "") + path;
    const key = this.#key;
    try {
      return [await this.#postBy(key, where, form, prove), key];
    } catch (e) {
      if (!(e instanceof SafeconductError) || e.code !== "invalid_client" || !(await this.#reload(key))) throw e;
    }
    const next = this.#key;
    return [await this.#postBy(next, where, form, prove), next];
  }

  #postBy(key: Key, where: string, form: Record<string, string>, prove: boolean): Promise<Answer> {
    return retry(this.#attempts, () => this.#postOnce(key, where, form, prove));
  }

  /**
   * Sends the form once, and once more if the server wants another nonce (RFC 9449, section 8). The assertion is made anew for
   * each: it counts once.
   */
  async #postOnce(key: Key, where: string, form: Record<string, string>, prove: boolean): Promise<Answer> {
    for (let again = false; ; again = true) {
      const now = this.now();
      const iat = Math.floor(now / 1000);
      // Its audience is the issuer and nobody else, so that a server that received it cannot show it to another.
      const assertion = await key.sign("client-authentication+jwt", { iss: this.id, sub: this.id, aud: this.issuer, jti: draw(), iat, exp: iat + 60 });
      const sent = this.#nonce;
      const a = await send({
        method: "POST", url: where, most: maxOAuth,
        headers: { "Content-Type": "application/x-www-form-urlencoded", ...(prove ? { DPoP: await proof(key, "POST", where, sent, "", now) } : {}) },
        body: new URLSearchParams({ ...form, client_assertion_type: assertionType, client_assertion: assertion }).toString(),
      }, this.timeout);
      const nonce = a.headers.get("dpop-nonce") ?? "";
      if (fits(nonce)) this.#nonce = nonce;
      if (a.status === 200 || a.status === 201) return a;
      const e = oauthRefusal(a);
      if (again || !prove || e.code !== "use_dpop_nonce" || this.#nonce === sent) throw e;
    }
  }

  async #reload(refused: Key): Promise<boolean> {
    if (!this.#file) return false;
    const k = await readKeyFile(this.#file).catch(() => undefined); // what the server said counts
    if (k === undefined || k.issuer !== this.issuer || k.agent !== this.id || k.key.id === refused.id) return false;
    this.#key = k.key;
    this.#expires = k.expires;
    return true;
  }
}

async function register(issuer: string, token: string, key: Key, now: () => number, timeout: number): Promise<JsonObject> {
  const iat = Math.floor(now() / 1000);
  // The nonce binds the proof to the token, so that a proof is of no use beside another.
  const shown = await key.sign("key-proof+jwt", { aud: issuer, jti: draw(), iat, exp: iat + 60, nonce: hash(token) }, true);
  const a = await send({
    method: "POST", url: `${issuer.replace(/\/$/, "")}/oauth2/enroll`, headers: { "Content-Type": "application/json" }, body: write({ token, proof: shown }), most: maxOAuth,
  }, timeout);
  if (a.status !== 200 && a.status !== 201) {
    const e = oauthRefusal(a);
    if (e instanceof UnauthenticatedError) e.hint = "an enrolment token counts once and for a short time: ask an administrator for another";
    throw e;
  }
  const m = objectOf(a.body);
  if (!textOf(m, "client_id") || textOf(m, "kid") !== key.id || (member(m, "issuer") ?? issuer) !== issuer) {
    throw new UnavailableError("the server says that it has registered another key, or for another issuer");
  }
  return m;
}

/**
 * Asks the authorization server for its metadata (RFC 8414). The issuer that it names must be the one that was asked for, letter
 * for letter: an agent that took another's word would show its assertions to a stranger.
 */
async function discover(issuer: string, timeout: number): Promise<JsonObject> {
  const u = issuerURL(issuer);
  const a = await send({ method: "GET", url: `${u.origin}/.well-known/oauth-authorization-server${u.pathname.replace(/\/$/, "")}`, most: maxOAuth }, timeout);
  if (a.status !== 200) throw refusal(a);
  const m = objectOf(a.body);
  if (member(m, "issuer") !== issuer) {
    throw new ForbiddenError(`asked for ${issuer}, the server says that it is ${printable(member(m, "issuer"), 200)}`, {
      status: 200, code: "issuer_mismatch", hint: "give the issuer exactly as the server writes it, if that is the server you mean",
    });
  }
  for (const name of ["token_endpoint", "introspection_endpoint", "revocation_endpoint"]) {
    if (!Object.hasOwn(m, name) && name !== "token_endpoint") continue;
    const p = split(member(m, name));
    if (p === undefined || !safe(p) || p.hash || textOf(m, name).includes("#") || p.protocol !== "https:" && u.protocol === "https:") {
      throw new InvalidError(`the server's ${name} is not a URL as safe as ${issuer}`, { status: 200 });
    }
  }
  return m;
}

function accepts(m: JsonObject, algorithm: Algorithm): void {
  const names = algorithm === "EdDSA" ? ["EdDSA", "Ed25519"] : [algorithm]; // RFC 9864 renamed it
  for (const [what, name, some] of [
    ["client authentication by private_key_jwt", "token_endpoint_auth_methods_supported", ["private_key_jwt"]],
    [`client assertions signed with ${algorithm}`, "token_endpoint_auth_signing_alg_values_supported", names],
    [`DPoP proofs signed with ${algorithm}`, "dpop_signing_alg_values_supported", names],
  ] as const) {
    const listed = member(m, name);
    if (listed !== undefined && !(Array.isArray(listed) && some.some((s) => listed.includes(s)))) throw new InvalidError(`${textOf(m, "issuer")} does not support ${what}`);
  }
}

function issuerURL(issuer: string): URL {
  const u = split(issuer);
  if (u === undefined || !safe(u) || issuer.includes("?") || issuer.includes("#")) {
    throw new InvalidError("that is no issuer: an https URL without query and fragment (http only on loopback)");
  }
  return u;
}

/** Returns the origin of a URL to which tokens may go, "" if it is none. */
function originOf(url: string | undefined): string {
  const u = split(url);
  return u !== undefined && safe(u) ? u.origin : "";
}

function wanted(p: TokenPurpose): Record<string, string> {
  if (p.scope !== undefined && !Array.isArray(p.scope)) throw new InvalidError("scope is a list of capabilities");
  const form = {
    scope: (p.scope ?? []).join(" "), resource: p.resource ?? "", may_act: p.mayAct ?? "", access_token_signing_alg: p.algorithm ?? "",
    authorization_details: p.details?.length ? write(p.details) : "",
  };
  return Object.fromEntries(Object.entries(form).filter(([, value]) => value));
}

type Kind = new (message: string, detail?: { status?: number; code?: string; hint?: string }) => SafeconductError;

// What an authorization server's code means: the class of error, and what to do about it.
const meanings = new Map<string, [Kind, string]>([
  ["invalid_request", [InvalidError, ""]],
  ["invalid_client", [UnauthenticatedError, "the server takes this key for no active agent's: the agent may be suspended, the key expired, revoked or replaced, or the clock here wrong"]],
  ["invalid_grant", [ForbiddenError, "the token that was shown has ended, was revoked, or is not for this agent"]],
  ["unauthorized_client", [ForbiddenError, "this agent may not use this grant"]],
  ["unsupported_grant_type", [InvalidError, ""]],
  ["invalid_scope", [ForbiddenError, "ask for capabilities that the agent is granted, and that the token which was shown carries"]],
  ["invalid_target", [InvalidError, "name one resource server as the authorization server knows it"]],
  ["access_denied", [ForbiddenError, "policy refuses that the agent carries this now"]],
  ["invalid_dpop_proof", [UnauthenticatedError, "the clock here may be wrong, or something on the way changes the URL"]],
  ["use_dpop_nonce", [UnavailableError, "each server behind a load balancer knows its own nonces only"]],
  ["invalid_proof", [InvalidError, "a key is registered once, for one agent: make a new one"]],
  ["invalid_token", [UnauthenticatedError, ""]],
  ["temporarily_unavailable", [UnavailableError, ""]],
  ["server_error", [UnavailableError, ""]],
]);

/** Returns the error of an authorization server's answer (RFC 6749, section 5.2). */
function oauthRefusal(a: Answer): SafeconductError {
  const m = tryObject(a.body);
  const said = m && member(m, "error");
  if (m === undefined || typeof said !== "string") return refusal(a);
  const code = printable(said, 80);
  let [kind, hint] = meanings.get(code) ?? [kindOf(a.status) as Kind, ""];
  if (a.status >= 500 || a.status === 429) kind = UnavailableError; // what the status says to try again is tried again
  return new kind(printable(textOf(m, "error_description"), 500) || code, { status: a.status, code, hint });
}
