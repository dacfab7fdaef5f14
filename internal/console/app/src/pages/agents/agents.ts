/** What the pages of agents share. */

import type { Schemas } from '../../lib/api';
import { to } from '../../lib/router.svelte';
import { className } from '../../lib/words';

const order = ['none', 'low', 'medium', 'high'];

/** The lowest level over the classes. */
export function lowest(classes: readonly { level: string }[]): string {
  return classes.reduce((l, c) => (order.indexOf(c.level) < order.indexOf(l) ? c.level : l), 'high');
}

/** What sorts directly before an agent's id: a page that begins after it begins with the agent. Ids are of a-z, 0-9 and . _ -. */
export const before = (id: string) => `${id.slice(0, -1)}${String.fromCharCode(id.charCodeAt(id.length - 1) - 1)}~`;

export const agentPath = (id: string, tab?: string) => to(`/agents/${encodeURIComponent(id)}`, { tab });
export const sessionPath = (id: string, agent?: string) => to(`/sessions/${encodeURIComponent(id)}`, { agent });
export const decisionPath = (seq: number) => to(`/decisions/d${seq}`);
export const findingPath = (id: string) => to(`/findings/${encodeURIComponent(id)}`);

/** What moved trust, in a few words. */
export function moved(m: Schemas['MonitorMoved']): string {
  const where = m.class && m.class !== 'every' ? ` in ${className(m.class).toLowerCase()}` : '';
  switch (m.what) {
    case 'registered':
      return 'Registered: it starts with what its purpose has earned';
    case 'renewed':
      return 'New version or purpose: evidence begins anew';
    case 'level':
      return `${className(m.class ?? '')}: ${m.from} → ${m.to}`;
    case 'quarantine':
      return m.to === 'yes' ? 'Shut by its conduct' : 'No longer shut';
    case 'override':
      return m.to ? `Set by hand to ${m.to}${where}` : `Left to conduct again${where}`;
    case 'restored':
      return `Restored by a person to ${m.to}${where}`;
    case 'finding':
      return `Finding: ${kind(m.kind)}${where}`;
    case 'acknowledged':
    case 'dismissed':
    case 'confirmed':
      return `Finding ${m.what}: ${kind(m.kind)}${where}`;
    case 'outcome':
      return `Reported ${m.to}${where}`;
  }
  return m.what;
}

/** A kind of finding such as deviation.zone as words. */
export const kind = (k: string | undefined) => (k ?? '').replace(/[._]/g, ' ');

/** Which way it moved, as a tone. */
export function toneOf(m: Schemas['MonitorMoved']): string {
  const rank = (l: string | undefined) => order.indexOf(l ?? '');
  switch (m.what) {
    case 'level':
      return rank(m.to) < rank(m.from) ? 'deny' : 'allow';
    case 'quarantine':
      return m.to === 'yes' ? 'deny' : 'allow';
    case 'finding':
    case 'confirmed':
    case 'outcome':
      return 'deny';
    case 'dismissed':
    case 'restored':
      return 'allow';
    case 'override':
      return 'step';
  }
  return 'quiet';
}

/** Where what moved trust can be read. */
export function movedPath(m: Schemas['MonitorMoved'], seq: number): string {
  if (m.finding) return findingPath(m.finding);
  if (m.decision) return decisionPath(m.decision);
  return to(`/audit/${seq}`);
}
