/** The field's words as people read them, and the colour each has. */

import type { Schemas } from './api';

export type Tone = 'allow' | 'limit' | 'ask' | 'step' | 'deny' | 'quiet' | 'accent';

export interface Word {
  text: string;
  tone: Tone;
  mark: string; // a sign beside the colour, for those who do not see it
}

/** An Outcome is what was decided, as people read it everywhere. */
export interface Outcome extends Word {
  was: string; // in a sentence: it was ...
  may: string; // before the act: the agent ... pay
}

const effects: Record<string, Outcome> = {
  allow: { text: 'Allowed', tone: 'allow', mark: '✓', was: 'allowed', may: 'may' },
  allow_with_obligations: { text: 'Allowed, with conditions', tone: 'limit', mark: '✓', was: 'allowed, with conditions', may: 'may, with conditions,' },
  require_approval: { text: 'Held for a person', tone: 'ask', mark: '?', was: 'held for a person', may: 'must ask a person before it may' },
  step_up: { text: 'Step up', tone: 'step', mark: '↑', was: 'held for a stronger authentication', may: 'must authenticate more strongly before it may' },
  deny: { text: 'Denied', tone: 'deny', mark: '✕', was: 'denied', may: 'may not' },
};

/** What a decision is recorded as, the most favourable first. */
export const outcomes = ['allow', 'require_approval', 'step_up', 'deny'] as const;

/** What was decided. */
export const effect = (e: string): Outcome => effects[e] ?? { text: e, tone: 'quiet', mark: '·', was: e, may: e };

const levels: Record<string, Word> = {
  high: { text: 'High', tone: 'allow', mark: '●' },
  medium: { text: 'Medium', tone: 'limit', mark: '◕' },
  low: { text: 'Low', tone: 'ask', mark: '◔' },
  none: { text: 'None', tone: 'deny', mark: '○' },
};

/** How far an agent is trusted. */
export const level = (l: string): Word => levels[l] ?? { text: l || 'Unknown', tone: 'quiet', mark: '·' };

const severities: Record<string, Word> = {
  low: { text: 'Low', tone: 'quiet', mark: '▁' },
  medium: { text: 'Medium', tone: 'ask', mark: '▃' },
  high: { text: 'High', tone: 'deny', mark: '▅' },
  critical: { text: 'Critical', tone: 'deny', mark: '▇' },
};

/** How grave a finding or an alert is. */
export const severity = (s: string): Word => severities[s] ?? { text: s, tone: 'quiet', mark: '·' };

const states: Record<string, Word> = {
  active: { text: 'Active', tone: 'allow', mark: '●' },
  suspended: { text: 'Suspended', tone: 'ask', mark: '❚❚' },
  quarantined: { text: 'Quarantined', tone: 'deny', mark: '■' },
  retired: { text: 'Retired', tone: 'quiet', mark: '○' },
};

/** The state of an agent. */
export const agentState = (s: string): Word => states[s] ?? { text: s, tone: 'quiet', mark: '·' };

const classWords: Record<string, Word> = {
  read: { text: 'Read', tone: 'quiet', mark: '▁' },
  write: { text: 'Write', tone: 'limit', mark: '▂' },
  egress: { text: 'Egress', tone: 'ask', mark: '▄' },
  money: { text: 'Money', tone: 'deny', mark: '▆' },
  admin: { text: 'Administer', tone: 'deny', mark: '█' },
};

/** The classes of capabilities, the gravest last. */
export const classes: readonly string[] = Object.keys(classWords);

/** What a capability lets an agent do: its class. */
export const classWord = (c: string): Word => classWords[c] ?? { text: c === 'every' ? 'Every class' : c, tone: 'quiet', mark: '·' };

/** A class of capabilities, as people read it. */
export const className = (c: string) => classWord(c).text;

const origins: Record<string, Word> = {
  untrusted: { text: 'Untrusted content', tone: 'deny', mark: '!' },
  unknown: { text: 'Not known', tone: 'ask', mark: '?' },
  prompt: { text: 'A person’s words', tone: 'allow', mark: '✓' },
  operator: { text: 'Configuration', tone: 'limit', mark: '⚙' },
};

/** Where the value of an argument came from. */
export const origin = (from: string): Word => origins[from] ?? { text: from, tone: 'quiet', mark: '·' };

/** originOf finds where an enforcement point saw an argument come from; nothing, if it kept no track. If it says two things, the worse one counts. */
export function originOf(name: string, p: Schemas['Provenance'] | undefined): string | undefined {
  return p && (Object.keys(origins).find((o) => p[o as keyof typeof p]?.includes(name)) ?? 'unknown');
}

/** Whom a name such as user:emma names: emma. */
export const named = (s: string | undefined) => (s ?? '').replace(/^(user|person|admin|agent|pep|edge):/, '');

/** An identifier such as no_permit as words: No permit. */
export function words(id: string): string {
  const s = id.replace(/[_.-]+/g, ' ').trim();
  return s ? s[0]!.toUpperCase() + s.slice(1) : s;
}
