// JSON of strangers, read strictly: valid UTF-8, no name twice in one object, nested at most so deep. JSON.parse does not
// tell that a name stands twice, and readers differ in which of the two counts.

export const maxDepth = 128;

/** A number as it was written. */
export class RawNumber {
  constructor(readonly text: string) {}
}

export type Json = null | boolean | number | string | RawNumber | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/** It is no JSON that is accepted here. The message quotes nothing of it. */
export class Malformed extends Error {}

/** Sets an own member, whatever its name: assigning to __proto__ would do something else. */
export function put(o: object, name: string, value: unknown): void {
  Object.defineProperty(o, name, { value, writable: true, enumerable: true, configurable: true });
}

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// eslint-disable-next-line no-control-regex
const plain = /[^"\\\u0000-\u001f]*/y;

/** Returns the value; if exact, with numbers as they were written (RawNumber). Throws Malformed. */
export function parse(input: string | Uint8Array, exact = false): Json {
  let text: string;
  if (typeof input === "string") {
    text = input;
  } else {
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input);
    } catch {
      throw new Malformed("it is no UTF-8");
    }
  }
  let i = 0;
  const fail = (): never => {
    throw new Malformed("it is no JSON");
  };
  const space = (): void => {
    while (text[i] === " " || text[i] === "\t" || text[i] === "\n" || text[i] === "\r") i++;
  };
  const string = (): string => {
    if (text[i] !== '"') fail();
    const start = i++;
    for (;;) {
      plain.lastIndex = i;
      plain.test(text);
      i = plain.lastIndex;
      if (text[i] === '"') break;
      if (text[i] !== "\\") fail();
      i += 2;
    }
    i++;
    try {
      return JSON.parse(text.slice(start, i)) as string;
    } catch {
      return fail();
    }
  };
  const value = (depth: number): Json => {
    if (depth > maxDepth) throw new Malformed(`it is nested deeper than ${maxDepth}`);
    space();
    switch (text[i]) {
      case "{": {
        const out: JsonObject = {};
        i++;
        space();
        if (text[i] === "}") {
          i++;
          return out;
        }
        for (;;) {
          space();
          const name = string();
          if (Object.hasOwn(out, name)) throw new Malformed("an object has the same name twice");
          space();
          if (text[i++] !== ":") fail();
          put(out, name, value(depth + 1));
          space();
          const c = text[i++];
          if (c === "}") return out;
          if (c !== ",") fail();
        }
      }
      case "[": {
        const out: Json[] = [];
        i++;
        space();
        if (text[i] === "]") {
          i++;
          return out;
        }
        for (;;) {
          out.push(value(depth + 1));
          space();
          const c = text[i++];
          if (c === "]") return out;
          if (c !== ",") fail();
        }
      }
      case '"':
        return string();
    }
    for (const [word, v] of [["true", true], ["false", false], ["null", null]] as const) {
      if (text.startsWith(word, i)) {
        i += word.length;
        return v;
      }
    }
    number.lastIndex = i;
    const m = number.exec(text);
    if (m === null) return fail();
    i += m[0].length;
    if (exact) return new RawNumber(m[0]);
    const n = Number(m[0]);
    return Number.isFinite(n) ? n : fail();
  };
  const v = value(0);
  space();
  if (i !== text.length) fail();
  return v;
}

/** Reports whether a value is an object that is nothing but its members. */
export function isPlain(v: unknown): v is Record<string, unknown> {
  if (typeof v !== "object" || v === null || v instanceof RawNumber) return false;
  const p = Object.getPrototypeOf(v) as unknown;
  return p === Object.prototype || p === null;
}

/** Reports whether a text has no lone surrogates. */
export const wellFormed = (s: string): boolean => !/\p{Surrogate}/u.test(s);

/**
 * Returns the value as JSON. Members that are undefined are left out. Throws Malformed for what JSON does not have: other
 * classes' objects, functions, numbers that are not finite, lone surrogates.
 */
export function write(v: unknown, depth = 0): string {
  if (depth > maxDepth) throw new Malformed(`it is nested deeper than ${maxDepth}`);
  switch (typeof v) {
    case "string":
      if (!wellFormed(v)) break;
      return JSON.stringify(v);
    case "number":
      if (!Number.isFinite(v)) break;
      return JSON.stringify(v);
    case "boolean":
      return v ? "true" : "false";
    case "bigint":
      return v.toString();
    case "object":
      if (v === null) return "null";
      if (v instanceof RawNumber) return v.text;
      if (Array.isArray(v)) return `[${Array.from(v as unknown[], (below) => write(below, depth + 1)).join(",")}]`;
      if (isPlain(v)) {
        const members = [];
        for (const name of Object.keys(v)) {
          const below = v[name];
          if (below !== undefined) members.push(`${write(name)}:${write(below, depth + 1)}`);
        }
        return `{${members.join(",")}}`;
      }
  }
  throw new Malformed(`a value of the type ${typeof v} is no JSON`);
}

export const isObject = (v: unknown): v is JsonObject => isPlain(v);
/** Returns the member if it is a text, "" otherwise. */
export const textOf = (m: JsonObject, name: string): string => {
  const v = Object.hasOwn(m, name) ? m[name] : undefined;
  return typeof v === "string" ? v : "";
};
/** Returns an own member. */
export const member = (m: JsonObject, name: string): Json | undefined => (Object.hasOwn(m, name) ? m[name] : undefined);
