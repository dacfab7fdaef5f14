/** The roles, as an administrator reads them. */

import type { Schemas } from '../../lib/api';

export type PersonRole = NonNullable<Schemas['PersonView']['roles']>[number];
export type TokenRole = Schemas['CallerCaller']['role'];

interface Said<R> {
  role: R;
  may: string;
}

export const personRoles: Said<PersonRole>[] = [
  { role: 'viewer', may: 'Watches: agents, decisions, findings, alerts, policies.' },
  { role: 'operator', may: 'Also stops and restores agents, sets trust, judges findings, raises alerts.' },
  { role: 'author', may: 'Also checks, publishes and rolls back policies and the catalog.' },
  { role: 'auditor', may: 'Reads everything, changes nothing.' },
  { role: 'approver', may: "Answers asks, as far as the catalog's groups let them." },
  { role: 'administrator', may: 'Everything.' },
];

export const tokenRoles: Said<TokenRole>[] = [
  { role: 'pep', may: 'An enforcement point: asks for decisions, and says what it saw.' },
  { role: 'edge', may: 'An enforcement point that decides by itself.' },
  { role: 'viewer', may: 'Watches: agents, decisions, findings, alerts, policies.' },
  { role: 'operator', may: 'Also stops and restores agents, sets trust, judges findings, raises alerts.' },
  { role: 'author', may: 'Also checks, publishes and rolls back policies and the catalog.' },
  { role: 'auditor', may: 'Reads everything, changes nothing.' },
  { role: 'approver', may: 'Answers asks as the person whose id is its name.' },
  { role: 'administrator', may: 'Everything.' },
];

/** What somebody may do of whom no role is said. */
export const granted = (p: Schemas['PersonView']): PersonRole[] => (p.roles?.length ? p.roles : ['approver']);
