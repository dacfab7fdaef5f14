// Private keys: their files, and what they sign. A key never leaves this process but into its own file.

import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { link, open, rename, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { calculateJwkThumbprint, type JWK, SignJWT } from "jose";
import { ConflictError, InvalidError, NotFoundError } from "./errors.js";

const maxFile = 16 << 10;

export type Algorithm = "EdDSA" | "ES256";

/** A private key that signs, Ed25519 or P-256. Printed, it does not show itself. */
export class Key {
  readonly #private: KeyObject;

  private constructor(key: KeyObject, readonly algorithm: Algorithm, readonly jwk: Readonly<JWK>, readonly id: string) {
    this.#private = key;
  }

  static async of(key: KeyObject): Promise<Key> {
    const curve = key.asymmetricKeyDetails?.namedCurve;
    const ed = key.asymmetricKeyType === "ed25519";
    if (key.type !== "private" || !ed && !(key.asymmetricKeyType === "ec" && curve === "prime256v1")) throw new InvalidError("only Ed25519 and P-256 keys sign");
    const jwk = createPublicKey(key as never).export({ format: "jwk" }) as JWK;
    return new Key(key, ed ? "EdDSA" : "ES256", jwk, await calculateJwkThumbprint(jwk)); // RFC 7638
  }

  /** Returns a fresh key. */
  static async generate(algorithm: Algorithm = "EdDSA"): Promise<Key> {
    switch (algorithm) {
      case "EdDSA":
        return Key.of(generateKeyPairSync("ed25519").privateKey);
      case "ES256":
        return Key.of(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
    }
    throw new InvalidError("that is no algorithm of a key: EdDSA or ES256");
  }

  /** Reads a private key from a PKCS#8 PEM file. A file that others may read is refused. */
  static async load(file: string): Promise<Key> {
    return (await readKeyFile(file)).key;
  }

  /** Returns a compact JWS of the type. Its header has the id of the key or, if it is to be shown, the public key. */
  async sign(typ: string, claims: Record<string, unknown>, show = false): Promise<string> {
    const header = { alg: this.algorithm, typ, ...(show ? { jwk: this.jwk } : { kid: this.id }) };
    return new SignJWT(claims).setProtectedHeader(header).sign(this.#private);
  }

  /** Returns the key as PKCS#8 PEM, for its own file. */
  pem(): string {
    return this.#private.export({ type: "pkcs8", format: "pem" }) as string;
  }
}

export const draw = (): string => randomBytes(18).toString("base64url");
export const hash = (s: string): string => createHash("sha256").update(s).digest("base64url");

/** Returns a DPoP proof (RFC 9449, section 4.2) for one request. */
export function proof(key: Key, method: string, url: string, nonce: string, token: string, now: number): Promise<string> {
  return key.sign("dpop+jwt", {
    jti: draw(), htm: method, htu: url.replace(/[?#].*$/s, ""), iat: Math.floor(now / 1000), ...(token ? { ath: hash(token) } : {}), ...(nonce ? { nonce } : {}),
  }, true);
}

/** What a key file says: a PKCS#8 key, and before it whose it is. */
export interface KeyFile {
  key: Key;
  issuer: string;
  agent: string;
  expires: Date | undefined;
}

export async function readKeyFile(file: string): Promise<KeyFile> {
  let f;
  try {
    f = await open(file, "r");
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") throw new NotFoundError(`no key file ${file}`);
    throw e;
  }
  try {
    const mode = (await f.stat()).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new InvalidError(`${file} may be read by others (mode ${mode.toString(8)}): chmod 600 it`);
    }
    const { bytesRead, buffer } = await f.read(Buffer.alloc(maxFile + 1), 0, maxFile + 1, 0);
    if (bytesRead > maxFile) throw new InvalidError(`reading ${file}: a key file has at most ${maxFile} bytes`);
    return await parseKeyFile(buffer.toString("utf8", 0, bytesRead), file);
  } finally {
    await f.close();
  }
}

/** Reads the text of a key file. Its errors never quote it. */
async function parseKeyFile(text: string, file: string): Promise<KeyFile> {
  const wrong = (what: string): InvalidError => new InvalidError(`reading ${file}: ${what}`);
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z0-9 ]*)-----/g)];
  if (blocks.length !== 1) throw wrong(`it has ${blocks.length} PEM blocks, not one`);
  if (blocks[0]![1] !== "PRIVATE KEY") throw wrong("its PEM block is no PKCS#8 key without encryption: convert it with `openssl pkcs8 -topk8 -nocrypt`");
  const at = blocks[0]!.index;
  let key: Key;
  try {
    key = await Key.of(createPrivateKey(text.slice(at)));
  } catch (e) {
    throw e instanceof InvalidError ? wrong(e.message) : wrong("the PEM block holds no PKCS#8 key");
  }
  const said = new Map<string, string>();
  for (const line of text.slice(0, at).split("\n")) {
    const m = /^Safeconduct-(Issuer|Agent|Expires): (.*)$/.exec(line.trim());
    if (m) said.set(m[1]!, m[2]!);
  }
  const expires = said.get("Expires");
  if (expires !== undefined && instant(expires) === undefined) throw wrong("Safeconduct-Expires: it is no time of RFC 3339");
  return { key, issuer: said.get("Issuer") ?? "", agent: said.get("Agent") ?? "", expires: instant(expires) };
}

/**
 * Writes the key file, which only its owner can read. If it is new there must be none: ConflictError. After a crash there is
 * the whole file, or what was there before.
 */
export async function saveKeyFile(file: string, k: KeyFile, isNew: boolean): Promise<void> {
  let text = "";
  for (const [name, value] of [["Issuer", k.issuer], ["Agent", k.agent], ["Expires", k.expires?.toISOString().replace(/\.\d+Z$/, "Z") ?? ""]] as const) {
    if (/[\u0000-\u001f\u007f]/.test(value)) throw new InvalidError("whose key it is has a control character");
    if (value) text += `Safeconduct-${name}: ${value}\n`;
  }
  const directory = dirname(resolve(file));
  const tmp = join(directory, `.keyfile-${randomBytes(8).toString("hex")}`);
  const f = await open(tmp, "wx", 0o600);
  try {
    try {
      await f.writeFile(text + k.key.pem());
      await f.sync();
    } finally {
      await f.close();
    }
    if (isNew) await link(tmp, file); // unlike a rename, never over another file
    else await rename(tmp, file);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "EEXIST") throw new ConflictError(`${file} exists`);
    throw e;
  } finally {
    await unlink(tmp).catch((e: NodeJS.ErrnoException) => {
      if (e.code !== "ENOENT") throw e;
    });
  }
  if (process.platform !== "win32") {
    const d = await open(directory, "r");
    try {
      await d.sync();
    } finally {
      await d.close();
    }
  }
}

/** Returns a time of RFC 3339, undefined of anything else. */
export function instant(text: unknown): Date | undefined {
  const m = typeof text === "string" ? /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.exec(text) : null;
  if (m === null) return undefined;
  const d = new Date(`${m[1]}T${m[2]}${(m[3] ?? ".0").slice(0, 4)}${m[4]!.toUpperCase()}`);
  return Number.isNaN(d.getTime()) ? undefined : d;
}
