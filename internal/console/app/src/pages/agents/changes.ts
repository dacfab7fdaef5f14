/** Entries of the log about an agent, as sentences. Their bodies are read with care: what is in them others wrote. */

import type { Schemas } from '../../lib/api';
import { words } from '../../lib/words';

export interface Change {
  seq: number;
  at: string;
  actor: string;
  why: string;
  what: string[];
}

type Fields = Record<string, unknown>;
const fields = (v: unknown): Fields => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Fields) : {});
const text = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' ? String(v) : '');
const texts = (v: unknown): string[] => (Array.isArray(v) ? v.filter((x): x is string => typeof x === 'string') : []);

/** changesOf returns what the entries changed about an agent, newest first. */
export function changesOf(id: string, entries: Schemas['AuditEntry'][]): Change[] {
  const ordered = [...new Map(entries.map((e) => [e.seq, e])).values()].sort((a, b) => a.seq - b.seq);
  const out: Change[] = [];
  let before: Fields | undefined;
  for (const e of ordered) {
    const body = fields(e.body);
    const what: string[] = [];
    switch (e.kind) {
      case 'agent.put': {
        const now = fields(body.agent);
        if (text(now.id) !== id) continue;
        what.push(...compare(before, now, Number(body.if_revision) || 0));
        before = now;
        break;
      }
      case 'credential.put':
        what.push(`Credential: ${words(text(body.op) || text(body.change) || 'changed').toLowerCase()}`);
        break;
      case 'enrolment.put':
        what.push('An enrolment token was made');
        break;
      case 'trust.put':
        if (text(body.agent) !== id) continue;
        what.push(text(body.level) ? `Trust ${body.restore ? 'restored' : 'set by hand'} to ${text(body.level)}, ${text(body.class)}` : `Trust left to conduct again, ${text(body.class)}`);
        break;
    }
    out.push({ seq: e.seq, at: e.at, actor: e.actor, why: text(body.why), what });
  }
  return out.reverse();
}

function compare(before: Fields | undefined, now: Fields, revision: number): string[] {
  if (revision === 0) return [`Registered with ${texts(now.capabilities).join(', ') || 'no capability'}`];
  if (!before) return [`Changed: ${text(now.state)}, ${texts(now.capabilities).length} capabilities`];
  const what: string[] = [];
  if (text(before.state) !== text(now.state)) what.push(`${words(text(before.state))} → ${text(now.state)}`);
  for (const f of ['owner', 'purpose', 'version', 'creator']) if (text(before[f]) !== text(now[f])) what.push(`${words(f)}: ${text(before[f])} → ${text(now[f])}`);
  const had = texts(before.capabilities);
  const has = texts(now.capabilities);
  const lost = had.filter((c) => !has.includes(c));
  const got = has.filter((c) => !had.includes(c));
  if (lost.length) what.push(`Taken away: ${lost.join(', ')}`);
  if (got.length) what.push(`Granted: ${got.join(', ')}`);
  if (JSON.stringify(before.labels ?? {}) !== JSON.stringify(now.labels ?? {})) what.push('Labels changed');
  return what.length ? what : ['Written anew, with nothing changed'];
}
