/**
 * What this browser has seen of the log: the key, and signed checkpoints. They are kept here and not by the service, so that a history
 * that is rewritten is noticed the next time.
 */

import { api, ok } from '../../lib/api';
import { keep, kept } from '../../lib/kept';
import { Broken } from './bytes';
import { readCheckpoint, readKey, verifyGrowth, type Checkpoint, type Key } from './proof';

export interface Seen {
  size: number;
  root: string;
  note: string;
  at: number; // when this browser saw it, in ms
}

export interface Memory {
  key: string;
  first: number; // when the key was first seen
  seen: Seen[]; // growing
}

/** How many checkpoints are kept: the first ones and the last ones. */
const most = 40;

const place = (origin: string) => `safeconduct.log.${origin}`;

export function remembered(origin: string): Memory | undefined {
  try {
    const m = JSON.parse(kept(place(origin)) ?? 'null') as Memory | null;
    return m && typeof m.key === 'string' && Array.isArray(m.seen) ? m : undefined;
  } catch {
    return undefined;
  }
}

function remember(origin: string, m: Memory): boolean {
  if (m.seen.length > most) m.seen.splice(most / 2, m.seen.length - most);
  return keep(place(origin), JSON.stringify(m));
}

export function forget(origin: string) {
  keep(place(origin), undefined);
}

/** What became of comparing the log with what this browser remembers of it. */
export interface History {
  state: 'first' | 'same' | 'continued' | 'broken';
  says: string;
  old?: Seen;
  now?: Checkpoint;
  memory?: Memory;
}

/** trusted reads the key that the service names, and compares it with the one that was seen first. */
export async function trusted(): Promise<{ key: Key; changed?: string }> {
  const { origin, key } = await ok(api.GET('/v1/audit/key'));
  const k = await readKey(key);
  const m = remembered(origin);
  return { key: k, changed: m && m.key !== k.text ? m.key : undefined };
}

/** compare holds a signed checkpoint against the newest that this browser has seen, and remembers it if it continues that one. */
export async function compare(note: string, key: Key): Promise<History> {
  const m = remembered(key.name) ?? { key: key.text, first: Date.now(), seen: [] };
  if (m.key !== key.text) return { state: 'broken', says: 'The log’s key is not the one that this browser has seen before. Unless somebody told you that it was changed, do not believe what it signs.', memory: m };
  try {
    const now = await readCheckpoint(note, key);
    const old = m.seen.at(-1);
    const add = (cp: Checkpoint) => {
      m.seen.push({ size: cp.size, root: cp.rootText, note: cp.note, at: Date.now() });
      return remember(key.name, m);
    };
    if (!old) {
      const says = add(now) ? 'It will notice if the history that it has seen is rewritten.' : 'It keeps nothing for pages: it cannot notice if the history is rewritten.';
      return { state: 'first', says: `This browser sees the log for the first time. ${says}`, now, memory: m };
    }
    if (now.size === old.size) {
      if (now.rootText !== old.root) throw new Broken(`the log of ${now.size} batches has another root than when this browser saw it`);
      return { state: 'same', says: 'The log is as this browser saw it last.', old, now, memory: m };
    }
    // A replica may show an older checkpoint; but the log itself can be asked to continue what was seen.
    const answer = await ok(api.GET('/v1/audit/growth', { params: { query: { old: old.size } } }));
    const cp = await verifyGrowth(old, answer, key);
    // What was shown now must be part of the same history, too.
    if (now.size > cp.size) throw new Error('The service is behind what it just showed. Try again.');
    if (now.size === cp.size && now.rootText !== cp.rootText) throw new Broken(`two checkpoints of ${now.size} batches have two roots`);
    if (now.size < cp.size) await verifyGrowth({ size: now.size, root: now.rootText }, await ok(api.GET('/v1/audit/growth', { params: { query: { old: now.size } } })), key);
    if (cp.size > old.size) add(cp);
    return { state: 'continued', says: 'The log continues what this browser saw last: nothing of it was changed or removed.', old, now: cp, memory: m };
  } catch (e) {
    if (e instanceof Broken || (e instanceof Error && 'status' in e && e.status === 404)) {
      const old = m.seen.at(-1);
      const why = e instanceof Broken ? e.message : `the log no longer has the ${old?.size} batches that this browser saw`;
      return { state: 'broken', says: `The log does not continue what this browser has seen: ${why}. Keep both checkpoints: together they prove it.`, old, memory: m };
    }
    throw e;
  }
}
