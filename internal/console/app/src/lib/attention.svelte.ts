/** What wants somebody's attention, for the navigation: filled by whoever knows it. What is said of it stands here, once. */

import { may, type Schemas } from './api';
import { count } from './format';
import type { Tone } from './words';

export interface Note {
  text: string;
  means: string; // for screen readers: "waiting"
  tone: Tone;
}

/** Of asks: those that wait for whoever looks. */
export const asks = (mine: number): Note | undefined => (mine ? { text: count(mine), means: 'waiting', tone: 'ask' } : undefined);

/** Of incidents: what is stopped, or else the open alerts. */
export const incidents = (stops: number, alerts: number): Note | undefined =>
  stops ? { text: count(stops), means: 'stopped', tone: 'deny' } : alerts ? { text: count(alerts), means: 'open alerts', tone: 'ask' } : undefined;

/** Of findings: the grave ones that are open. */
export function findings(counts: readonly Schemas['MonitorCount'][]): Note | undefined {
  const n = counts.filter((c) => c.state === 'open' && (c.severity === 'high' || c.severity === 'critical')).reduce((sum, c) => sum + c.findings, 0);
  return n ? { text: count(n), means: 'open, high or critical', tone: 'deny' } : undefined;
}

class Attention {
  #notes = $state<Record<string, Note | undefined>>({});

  /** of returns what stands beside an entry of the navigation. */
  of(path: string): Note | undefined {
    return this.#notes[path];
  }

  set(path: string, note: Note | undefined) {
    // For whoever answers nothing, no ask waits, however many there are.
    this.#notes[path] = path === '/approvals' && !may('POST /v1/approvals/{id}/answer') ? undefined : note;
  }
}

export const attention = new Attention();
