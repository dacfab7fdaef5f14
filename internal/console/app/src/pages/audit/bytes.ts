/** Bytes as the log has them: base64, hexadecimal, big-endian numbers. */

export type Bytes = Uint8Array<ArrayBuffer>;

/** A Broken proof: what is wrong with it. */
export class Broken extends Error {}

export function fromBase64(text: string): Bytes {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4) throw new Broken(`“${text.slice(0, 40)}” is not base64`);
  const raw = atob(text);
  const b = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) b[i] = raw.charCodeAt(i);
  if (toBase64(b) !== text) throw new Broken(`“${text.slice(0, 40)}” is not base64 as it is written`);
  return b;
}

export function toBase64(b: Uint8Array): string {
  let raw = '';
  for (const c of b) raw += String.fromCharCode(c);
  return btoa(raw);
}

export const hex = (b: Uint8Array) => Array.from(b, (c) => c.toString(16).padStart(2, '0')).join('');

export const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((c, i) => c === b[i]);

export function join(...parts: Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return all;
}

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text);

/** The text of bytes that must be UTF-8. */
export function text(b: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(b);
  } catch {
    throw new Broken('a text is not UTF-8');
  }
}

export async function sha256(...parts: Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', join(...parts)));
}

/** Whether this browser can hash and verify here: only where the connection is trusted. */
export const canVerify = () => typeof crypto !== 'undefined' && !!crypto.subtle;
