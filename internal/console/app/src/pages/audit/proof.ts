/**
 * Proofs of the log, verified with nothing but SHA-256 and Ed25519 of WebCrypto. docs/log-format.md says what is done here, step by
 * step; what is verified is what the service sent, not what it says of it.
 */

import { Broken, fromBase64, hex, same, sha256, text, toBase64, utf8, type Bytes } from './bytes';

const leafPrefix = new Uint8Array([0]);
const nodePrefix = new Uint8Array([1]);

/** One hash of a path: which side the other one stands on, and what the two give. */
export interface PathStep {
  side: 'left' | 'right';
  hash: string;
  result: string;
}

export interface Walk {
  root: Bytes;
  steps: PathStep[];
}

/** walk follows an audit path of RFC 9162, section 2.1.3.2, from a leaf to the root of a tree of that size. */
export async function walk(index: number, size: number, leaf: Bytes, path: Bytes[]): Promise<Walk> {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) throw new Broken(`leaf ${index} is not one of ${size}`);
  let fn = BigInt(index);
  let sn = BigInt(size) - 1n;
  let r = leaf;
  const steps: PathStep[] = [];
  for (const p of path) {
    if (p.length !== 32) throw new Broken('a hash has not 32 bytes');
    if (sn === 0n) throw new Broken('the path is longer than the tree is high');
    const left = (fn & 1n) === 1n || fn === sn;
    if (left) {
      r = await sha256(nodePrefix, p, r);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else r = await sha256(nodePrefix, r, p);
    steps.push({ side: left ? 'left' : 'right', hash: toBase64(p), result: toBase64(r) });
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) throw new Broken('the path is shorter than the tree is high');
  return { root: r, steps };
}

/** grows verifies a consistency proof of RFC 9162, section 2.1.4.2: the larger tree begins with the smaller one. */
export async function grows(oldSize: number, oldRoot: Bytes, newSize: number, newRoot: Bytes, proof: Bytes[]): Promise<void> {
  if (oldSize < 1 || oldSize > newSize) throw new Broken(`a tree of ${newSize} does not continue one of ${oldSize}`);
  if (oldSize === newSize) {
    if (proof.length || !same(oldRoot, newRoot)) throw new Broken('two trees of one size have two roots');
    return;
  }
  let fn = BigInt(oldSize) - 1n;
  let sn = BigInt(newSize) - 1n;
  while (fn & 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  const path = fn === 0n ? [oldRoot, ...proof] : proof;
  if (!path.length) throw new Broken('the proof is empty');
  let fr = path[0]!;
  let sr = path[0]!;
  for (const c of path.slice(1)) {
    if (c.length !== 32) throw new Broken('a hash has not 32 bytes');
    if (sn === 0n) throw new Broken('the proof is longer than the tree is high');
    if ((fn & 1n) === 1n || fn === sn) {
      fr = await sha256(nodePrefix, c, fr);
      sr = await sha256(nodePrefix, c, sr);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else sr = await sha256(nodePrefix, sr, c);
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) throw new Broken('the proof is shorter than the tree is high');
  if (!same(fr, oldRoot)) throw new Broken('the proof does not lead to the older root');
  if (!same(sr, newRoot)) throw new Broken('the proof does not lead to the newer root');
}

/** A verifier's key of a signed note: origin+id+base64. */
export interface Key {
  text: string;
  name: string;
  id: string;
  public: Bytes;
}

/** readKey reads a key, and checks that its id is its own. */
export async function readKey(line: string): Promise<Key> {
  const [name, id, ...rest] = line.trim().split('+');
  const raw = fromBase64(rest.join('+'));
  if (!name || !id || raw.length !== 33 || raw[0] !== 1) throw new Broken('the log’s key is not an Ed25519 key of a signed note');
  const own = hex((await sha256(utf8(`${name}\n`), raw)).slice(0, 4));
  if (own !== id) throw new Broken(`the key says that its id is ${id}, and it is ${own}`);
  return { text: line.trim(), name, id, public: raw.slice(1) };
}

export interface Checkpoint {
  origin: string;
  size: number;
  root: Bytes;
  rootText: string;
  note: string;
  /** Others whose signatures are on it; nobody checked them. */
  others: { name: string; id: string }[];
}

/** readCheckpoint opens a signed note: the key must have signed it, and be that of its origin. */
export async function readCheckpoint(note: string, key: Key): Promise<Checkpoint> {
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw new Broken('the checkpoint is not a signed note');
  const body = note.slice(0, split + 1);
  const lines = body.split('\n');
  const [origin, size, root] = lines;
  if (lines.length < 4 || lines.slice(0, -1).some((l) => l === '') || !/^(0|[1-9][0-9]*)$/.test(size!) || !Number.isSafeInteger(Number(size))) throw new Broken('the checkpoint is not one');
  const rootBytes = fromBase64(root!);
  if (rootBytes.length !== 32) throw new Broken('the checkpoint’s root has not 32 bytes');
  if (origin !== key.name) throw new Broken(`the checkpoint is of the log ${origin}, the key of ${key.name}`);
  let signed = false;
  const others: Checkpoint['others'] = [];
  for (const line of note.slice(split + 2).split('\n').slice(0, -1)) {
    const m = /^\u2014 ([^\s+]+) (\S+)$/.exec(line);
    if (!m) throw new Broken('a line of signature is not one');
    const sig = fromBase64(m[2]!);
    const id = hex(sig.slice(0, 4));
    if (m[1] !== key.name || id !== key.id) {
      others.push({ name: m[1]!, id });
      continue;
    }
    const k = await crypto.subtle.importKey('raw', key.public, 'Ed25519', false, ['verify']);
    if (!(await crypto.subtle.verify('Ed25519', k, sig.slice(4), utf8(body)))) throw new Broken(`the signature by the key ${key.id} is not over this checkpoint`);
    signed = true;
  }
  if (!signed) throw new Broken(`the key ${key.id} of ${key.name} has not signed it`);
  return { origin: origin!, size: Number(size), root: rootBytes, rootText: root!, note, others };
}

/** An entry, decoded from the bytes that are proved. */
export interface ProvedEntry {
  seq: number;
  micros: bigint;
  at: string;
  kind: string;
  actor: string;
  body: unknown;
  bodyText: string;
}

/** Bounds of an entry, in bytes. */
const mostActor = 512;
const mostBody = 1 << 20;
/** No number or time of the log is that large. */
const beyond = 1n << 62n;

/** readEntry decodes an entry. There is one encoding, and anything else is refused. */
export function readEntry(b: Bytes): ProvedEntry {
  const v = new DataView(b.buffer, b.byteOffset, b.length);
  let at = 0;
  const take = (n: number, what: string) => {
    if (at + n > b.length) throw new Broken(`the entry ends within its ${what}`);
    at += n;
    return at - n;
  };
  if (v.getUint8(take(1, 'version')) !== 1) throw new Broken('the entry has not version 1');
  const seq = v.getBigUint64(take(8, 'number'));
  const micros = v.getBigUint64(take(8, 'time'));
  const part = (n: number, what: string) => {
    const from = take(n, what);
    return text(b.subarray(from, from + n));
  };
  const kind = part(v.getUint8(take(1, 'kind')), 'kind');
  const actor = part(v.getUint16(take(2, 'actor')), 'actor');
  const bodyText = part(v.getUint32(take(4, 'body')), 'body');
  if (at !== b.length) throw new Broken(`${b.length - at} bytes follow the entry`);
  if (seq < 1n || seq > BigInt(Number.MAX_SAFE_INTEGER) || micros >= beyond) throw new Broken(`the entry has the number ${seq} and the time ${micros}`);
  if (!/^[a-z0-9._-]{1,64}$/.test(kind)) throw new Broken('the entry’s kind is not one');
  if (actor === '' || utf8(actor).length > mostActor || /[\x00-\x1f\x7f]/.test(actor)) throw new Broken('the entry’s actor is not one');
  if (!bodyText.startsWith('{') || !bodyText.endsWith('}') || utf8(bodyText).length > mostBody) throw new Broken('the entry’s body is not a JSON object');
  let body: unknown;
  try {
    body = JSON.parse(bodyText, exact);
  } catch {
    throw new Broken('the entry’s body is not JSON');
  }
  return { seq: Number(seq), micros, at: new Date(Number(micros / 1000n)).toISOString(), kind, actor, body, bodyText };
}

/** exact keeps a whole number beyond 2^53 as it is written; JSON's own would be another one. */
function exact(_: string, v: unknown, at?: { source?: string }): unknown {
  return typeof v === 'number' && !Number.isSafeInteger(v) && at?.source && /^-?\d+$/.test(at.source) ? BigInt(at.source) : v;
}

export interface Leaf {
  first: number;
  count: number;
  micros: bigint;
  writer: string;
  nth: number;
  root: Bytes;
}

/** readLeaf decodes the text of a batch's leaf. */
export function readLeaf(t: string): Leaf {
  const m = /^safeconduct-batch\/1\n([1-9][0-9]*) ([1-9][0-9]*)\n([1-9][0-9]*)\n([0-9a-f]{16}) ([1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n$/.exec(t);
  if (!m || Number(m[2]) > 8192 || !Number.isSafeInteger(Number(m[1]) + Number(m[2])) || BigInt(m[3]!) >= beyond || !Number.isSafeInteger(Number(m[5]))) throw new Broken('the batch’s leaf is not one');
  return { first: Number(m[1]), count: Number(m[2]), micros: BigInt(m[3]!), writer: m[4]!, nth: Number(m[5]), root: fromBase64(m[6]!) };
}

/** A proof as the API gives it. */
export interface Proof {
  entry: string;
  salt: string;
  batch_proof: string[];
  leaf: string;
  batch: number;
  log_proof: string[];
  checkpoint: string;
}

/** A step of verifying, with the values that it was done with. */
export interface Step {
  title: string;
  says: string; // what it means, in a sentence
  state: 'holds' | 'fails' | 'not reached';
  problem?: string;
  values: { name: string; value: string }[];
  path?: PathStep[];
}

export interface Verdict {
  holds: boolean;
  steps: Step[];
  entry?: ProvedEntry;
  leaf?: Leaf;
  checkpoint?: Checkpoint;
}

const titles: [string, string][] = [
  ['The entry', 'The exact bytes that were recorded, decoded. What you read above is what these bytes say.'],
  ['Its hash', 'SHA-256 of a zero byte, the salt and the entry. The salt keeps others from guessing entries by their hashes.'],
  ['In its batch', 'Entries are stored in batches. Each pair of hashes below gives the next one, up to the root of the batch.'],
  ['The batch’s hash', 'A batch is one leaf of the log: its numbers, its time, who wrote it, and its root.'],
  ['In the log', 'In the same way the batch’s hash leads up to the root of the whole log.'],
  ['Signed', 'The checkpoint has that root, and is signed with the log’s key (Ed25519).'],
];

/** verify verifies the proof of the entry numbered seq, step by step, and stops where it fails. Shown is what is shown of the entry. */
export async function verify(p: Proof, seq: number, keyText: string, shown: { kind: string; actor: string; at: string; body: unknown } | undefined): Promise<Verdict> {
  const v: Verdict = { holds: false, steps: titles.map(([title, says]) => ({ title, says, state: 'not reached', values: [] })) };
  let n = 0;
  const step = () => v.steps[n]!;
  const value = (name: string, x: string | number) => step().values.push({ name, value: String(x) });
  const done = () => {
    step().state = 'holds';
    n++;
  };
  try {
    const raw = fromBase64(p.entry);
    const e = readEntry(raw);
    v.entry = e;
    value('Number', e.seq);
    value('Time', `${e.micros} µs since 1970 (${e.at})`);
    value('Kind', e.kind);
    value('Actor', e.actor);
    value('Encoded', `${raw.length} bytes`);
    if (e.seq !== seq) throw new Broken(`this is entry ${e.seq}, not ${seq}`);
    if (shown && (shown.kind !== e.kind || shown.actor !== e.actor || canonical(shown.body) !== canonical(e.body) || Math.floor(new Date(shown.at).getTime()) !== Number(e.micros / 1000n))) throw new Broken('the service shows another entry than the one it proves');
    done();

    const salt = fromBase64(p.salt);
    value('Salt', p.salt);
    if (salt.length !== 16) throw new Broken('the salt has not 16 bytes');
    const h = await sha256(leafPrefix, salt, raw);
    value('Hash', toBase64(h));
    done();

    const leaf = readLeaf(p.leaf);
    v.leaf = leaf;
    value('Entries of the batch', `${leaf.first} to ${leaf.first + leaf.count - 1}`);
    if (seq < leaf.first || seq >= leaf.first + leaf.count) throw new Broken(`the batch has the entries ${leaf.first} to ${leaf.first + leaf.count - 1}`);
    if (e.micros > leaf.micros) throw new Broken('the entry is younger than its batch');
    const inBatch = await walk(seq - leaf.first, leaf.count, h, p.batch_proof.map(fromBase64));
    step().path = inBatch.steps;
    value('Root, worked out', toBase64(inBatch.root));
    value('Root, in the leaf', toBase64(leaf.root));
    if (!same(inBatch.root, leaf.root)) throw new Broken('the entry is not in the batch: the roots differ');
    done();

    value('Leaf', p.leaf.trimEnd());
    const lh = await sha256(leafPrefix, utf8(p.leaf));
    value('Hash', toBase64(lh));
    done();

    const claimed = p.checkpoint.split('\n');
    const size = Number(claimed[1]);
    value('Batch', `${p.batch + 1} of ${size}`);
    const inLog = await walk(p.batch, size, lh, p.log_proof.map(fromBase64));
    step().path = inLog.steps;
    value('Root, worked out', toBase64(inLog.root));
    value('Root, in the checkpoint', claimed[2] ?? '');
    if (toBase64(inLog.root) !== claimed[2]) throw new Broken('the batch is not in the log: the roots differ');
    done();

    const key = await readKey(keyText);
    value('Key', key.text);
    value('Key’s id', key.id);
    value('Checkpoint', p.checkpoint.trimEnd());
    v.checkpoint = await readCheckpoint(p.checkpoint, key);
    if (!same(v.checkpoint.root, inLog.root) || v.checkpoint.size !== size) throw new Broken('the checkpoint is of another tree');
    done();
    v.holds = true;
  } catch (e) {
    step().state = 'fails';
    step().problem = e instanceof Broken ? e.message : `this browser could not do it: ${e instanceof Error ? e.message : String(e)}`;
  }
  return v;
}

/** canonical is JSON with the members of objects in order, to compare two. What the service shows was read by the browser, which has no larger whole numbers than numbers. */
export function canonical(v: unknown): string {
  if (typeof v === 'bigint') return JSON.stringify(Number(v));
  if (Array.isArray(v)) return `[${v.map(canonical).join(',')}]`;
  if (typeof v === 'object' && v !== null) {
    const o = v as Record<string, unknown>;
    return `{${Object.keys(o).sort().map((k) => `${JSON.stringify(k)}:${canonical(o[k])}`).join(',')}}`;
  }
  return JSON.stringify(v);
}

/** verifyGrowth verifies that a newer checkpoint continues an older one. */
export async function verifyGrowth(old: { size: number; root: string }, answer: { old: number; proof: string[]; checkpoint: string }, key: Key): Promise<Checkpoint> {
  const cp = await readCheckpoint(answer.checkpoint, key);
  if (answer.old !== old.size) throw new Broken(`the proof begins at ${answer.old} batches, not at ${old.size}`);
  await grows(old.size, fromBase64(old.root), cp.size, cp.root, answer.proof.map(fromBase64));
  return cp;
}
