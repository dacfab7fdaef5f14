/** Asks in words. */

import type { Schemas } from '../../lib/api';
import type { Word } from '../../lib/words';

export type Ask = Schemas['AskView'];
export type Detail = Schemas['AskDetail'];
export type Scope = Schemas['ApprovalScope'];

const statuses: Record<string, Word> = {
  pending: { text: 'Waits', tone: 'ask', mark: '?' },
  approved: { text: 'Approved', tone: 'allow', mark: '✓' },
  denied: { text: 'Refused', tone: 'deny', mark: '✕' },
  expired: { text: 'Expired', tone: 'quiet', mark: '○' },
  cancelled: { text: 'Cancelled', tone: 'quiet', mark: '○' },
  failed: { text: 'Failed', tone: 'deny', mark: '!' },
  partial: { text: 'Partly approved', tone: 'limit', mark: '◐' },
};

/** How far an ask has come. What was approved and taken back is said so. */
export function status(a: { status: string; revoked?: boolean }): Word {
  if (a.revoked) return { text: 'Taken back', tone: 'quiet', mark: '↶' };
  return statuses[a.status] ?? { text: a.status, tone: 'quiet', mark: '·' };
}

/** Why an ask should not wait, if so. */
export function hurry(a: Ask, now: number): Word | undefined {
  if (a.status !== 'pending') return undefined;
  if (a.emergency) return { text: 'Emergency, it says', tone: 'deny', mark: '!' };
  const left = Date.parse(a.expires_at) - now;
  if (left <= 10 * 60_000) return { text: 'Ends soon', tone: 'deny', mark: '◷' };
  if (a.escalated_at) return { text: 'Escalated', tone: 'ask', mark: '↑' };
  return undefined;
}

/** What is asked for, without who asks: the row of a list. */
export function title(a: Ask): string {
  if (a.kind === 'ciba') return a.message || 'A token in your name';
  const first = a.items[0];
  if (!first) return a.sentence;
  return `${first.action} · ${first.resource.type} ${first.resource.id}${a.items.length > 1 ? ` and ${a.items.length - 1} more` : ''}`;
}

/** The short arguments of the first act, for a row of a list. */
export function gist(a: Ask): string {
  const args = Object.entries((a.items[0]?.arguments ?? {}) as Record<string, unknown>);
  return args
    .filter(([, v]) => typeof v === 'string' || typeof v === 'number' || typeof v === 'boolean')
    .slice(0, 4)
    .map(([k, v]) => `${k} ${String(v).slice(0, 60)}`)
    .join('  ')
    .replaceAll(/[\n\r\t]+/g, ' ');
}

/** A value as a person reads it. */
export const shown = (v: unknown) => (typeof v === 'string' ? v : JSON.stringify(v, null, 1));

/** bounds says how far a yes went, nothing if it was a plain one. */
export function bounds(s: Scope | undefined, when: (at: string) => string): string {
  const said: string[] = [];
  if (s?.uses) said.push(s.uses < 0 ? 'as often as it likes' : `${s.uses} times`);
  if (s?.class) said.push('any such resource');
  if (s?.arguments) said.push('any arguments');
  for (const [name, value] of Object.entries(s?.amounts ?? {}).sort()) said.push(`${name} up to ${value}`);
  if (s?.until) said.push(`until ${when(s.until)}`);
  return said.join(', ');
}
