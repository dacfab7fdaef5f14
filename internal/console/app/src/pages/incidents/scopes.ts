/** Scopes in words. */

import type { Schemas } from '../../lib/api';

type Scope = Partial<Schemas['StopScope'] & Schemas['RiskScope']>;

/** scopeWords says what a scope concerns: everything, or what all that is set have in common. */
export function scopeWords(s: Scope | undefined): string {
  const said: string[] = [];
  if (s?.agent) said.push(`agent ${s.agent}`);
  if (s?.owner) said.push(`owner ${s.owner}`);
  if (s?.purpose) said.push(`purpose ${s.purpose}`);
  if (s?.capability) said.push(`capability ${s.capability}`);
  if (s?.resource_type) said.push(`resources of type ${s.resource_type}`);
  if (s?.zone) said.push(`zone ${s.zone}`);
  return said.length ? said.join(' and ') : 'Everything';
}

/** fresh makes an id that nobody has used: to put what has the id of another would replace it. */
export function fresh(kind: string): string {
  const [a, b] = crypto.getRandomValues(new Uint32Array(2));
  return `${kind}-${new Date().toISOString().slice(0, 10).replaceAll('-', '')}-${a!.toString(36)}${b!.toString(36)}`;
}

/** A Form is a scope that is being filled in: what is empty is not set. */
export type Form = Record<string, string>;

/** filled drops what is empty. */
export const filled = <T>(f: Form): T => Object.fromEntries(Object.entries(f).filter(([, v]) => v.trim() !== '').map(([k, v]) => [k, v.trim()])) as T;
