/** What an entry says, as a sentence. Names and texts that came from elsewhere are marked, so that they are shown as such. */

import { effect } from '../../lib/words';

export type Part = string | { said: string };

interface Entry {
  seq: number;
  kind: string;
  actor: string;
  body: unknown;
}

type Body = Record<string, unknown>;

const object = (v: unknown): Body => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Body) : {});
const str = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' || typeof v === 'boolean' ? String(v) : '');
const cut = (s: string, n = 120) => (s.length > n ? `${s.slice(0, n - 1)}…` : s);
const said = (v: unknown, none = '?'): Part => ({ said: cut(str(v) || none) });
const ref = (v: unknown): Part => {
  const o = object(v);
  return { said: cut(str(o.type) ? `${str(o.type)}:${str(o.id)}` : str(o.id) || '?') };
};
const why = (b: Body): Part[] => (str(b.why) && str(b.why) !== '' ? [': ', said(b.why)] : []);

/** who did it, in words. */
export function actor(a: string): Part[] {
  const [role, ...rest] = a.split(':');
  const name = rest.join(':');
  if (!name) return a === 'safeconduct' ? ['The service'] : a === 'config' ? ['The configuration'] : [{ said: a }];
  const words: Record<string, string> = { admin: 'Administrator ', pep: 'Enforcement point ', edge: 'Embedded point ', agent: 'Agent ', person: '', evaluator: 'Evaluator ', auditor: 'Auditor ' };
  return [words[role!] ?? `${role} `, { said: cut(name, 60) }];
}

function decision(b: Body): Part[] {
  const q = object(b.request);
  const d = object(b.decision);
  const subject = object(q.subject);
  const out: Part[] = subject.type === 'agent' ? [said(subject.id)] : [ref(subject)];
  out.push(b.listing ? ' would be shown ' : ' asked to ', said(object(q.action).name), ' on ', ref(q.resource));
  const behalf = Array.isArray(q.on_behalf) ? q.on_behalf : [];
  if (behalf.length) out.push(' for ', ref(behalf[0]));
  if (behalf.length > 1) out.push(` and ${behalf.length - 1} more`);
  out.push(`: ${effect(str(d.effect)).was}`);
  if (str(d.code) && !['allowed', 'approval_required', 'stepup_required', str(d.effect)].includes(str(d.code))) out.push(` (${str(d.code)})`);
  return out;
}

/** sentence tells an entry. Of a kind that is not known it says only that. */
export function sentence(e: Entry): Part[] {
  const b = object(e.body);
  const by = actor(e.actor);
  switch (e.kind) {
    case 'decision.made':
      return decision(b);
    case 'search.made':
      return [...by, ' searched what may be done'];
    case 'agent.put': {
      const a = object(b.agent);
      if (Number(a.revision) <= 1) return [...by, ' registered the agent ', said(a.id), ' for ', said(a.purpose)];
      return [...by, ' changed the agent ', said(a.id), a.state !== 'active' ? ` (${str(a.state)})` : '', ...why(b)];
    }
    case 'policy.publish':
      return [...by, ` published version ${str(b.version) || '?'} of policies and catalog`, ...(str(b.message) ? [': ', said(b.message)] : [])];
    case 'alert.put': {
      const a = object(b.alert ?? b);
      return [...by, a.cleared_at || a.cleared ? ' cleared the alert ' : ' raised or changed the alert ', said(a.id ?? a.kind), ...why(b)];
    }
    case 'indicator.put':
      return [...by, ' put the threat indicator ', said(object(b.indicator ?? b).id), ...why(b)];
    case 'caller.put':
      return [...by, b.revoked_at || b.revoked ? ' revoked the token of ' : ' made or changed the token of ', said(b.name), ` (${str(b.role) || 'caller'})`, ...why(b)];
    case 'enrolment.put':
      return [...by, ' let the agent ', said(b.agent), ' register a key', ...why(b)];
    case 'credential.put': {
      const done: Record<string, string> = { register: ' registered a key of ', rotate: ' rotated a key of ', link: ' linked a document to ', manage: ' let itself be managed: ', revoke: ' revoked a key of ', revoke_all: ' revoked all keys of ' };
      return [...by, done[str(b.op)] ?? ' changed the keys of ', said(b.agent)];
    }
    case 'key.put':
      return [...by, `: the signing key `, said(str(b.kid).slice(0, 12)), ` (${str(b.event) || 'changed'})`];
    case 'token.issued': {
      const scope = Array.isArray(b.scope) ? b.scope.length : 0;
      return [said(b.sub), ` got a passport with ${scope} ${scope === 1 ? 'capability' : 'capabilities'}`];
    }
    case 'token.revoked':
      return [...by, ' revoked a passport of ', said(b.sub), ...why(b)];
    case 'assertion.used':
      return [...by, ' used up an assertion'];
    case 'outcome.reported': {
      const what = str(b.result) ? ` turned out ${str(b.result)}` : str(b.fault) ? ` failed (${str(b.fault)})` : b.latency_ms ? ` took ${str(b.latency_ms)} ms` : ' ended';
      return [...by, ' reports: ', said(b.action), ' of ', said(b.agent), what, ...(b.decision ? [` (d${str(b.decision)})`] : []), ...why(b)];
    }
    case 'finding.judged':
      return [...by, ` ${str(b.verdict) || 'judged'} the finding `, said(b.finding), ...why(b)];
    case 'trust.put':
      return [...by, b.restore && !b.expires_at ? ' restored the trust in ' : ' set the trust in ', said(b.agent), str(b.class) ? ` with ${str(b.class)}` : '', str(b.level) ? ` to ${str(b.level)}` : '', ...why(b)];
    case 'approval.asked': {
      const items = Array.isArray(b.items) ? b.items : [];
      const first = object(items[0]);
      return [said(b.agent ?? b.requester), ' asks persons for ', said(object(first.action).name), ' on ', ref(first.resource), items.length > 1 ? ` and ${items.length - 1} more` : ''];
    }
    case 'approval.joined':
      return ['The same was asked again: ', said(b.ask)];
    case 'approval.viewed':
      return [...by, ' looked at the ask ', said(b.ask)];
    case 'approval.answered':
      return [...by, b.broke_glass ? ' broke the glass for ' : b.yes ? ' approved ' : ' refused ', said(b.ask), ...(str(b.comment) ? [': ', said(b.comment)] : [])];
    case 'approval.moved':
      return ['The ask ', said(b.ask), ` was ${str(b.to) || 'moved'}`, ...why(b)];
    case 'approval.reviewed':
      return [...by, ` found it ${b.justified ? 'justified' : 'unjustified'} to break the glass for `, said(b.ask)];
    case 'approval.used':
      return [said(b.agent), ' used the approval ', said(b.approval)];
    case 'approval.delivered':
      return ['Of ', said(b.ask), ', ', said(b.channel ?? b.kind), b.end === 'dead' ? ' could not be told' : ' was told'];
    case 'away.put':
      return [said(b.person), b.until ? ' is away; asks go to ' : ' is back', ...(b.until ? [said(b.deputy)] : [])];
    case 'person.put':
      return [...by, b.disabled ? ' disabled the person ' : ' made or changed the person ', said(b.name ?? b.id)];
    case 'person.enrolment':
      return [...by, ' let ', said(b.person), ' register a passkey'];
    case 'person.link':
      return [...by, ' made a link that signs ', said(b.person), ' in once'];
    case 'stop.put': {
      const scope = object(b.scope);
      const what = ['agent', 'purpose', 'owner', 'capability'].filter((k) => str(scope[k])).map((k) => `${k} ${str(scope[k])}`);
      return [...by, ' stopped ', what.length ? { said: cut(what.join(', ')) } : 'everything', ...why(b)];
    }
    case 'stop.lifted':
      return [...by, ' lifted the stop ', said(b.id), ...why(b)];
    case 'passkey.put':
      return [said(b.person), b.op === 'revoke' ? ': a passkey was revoked' : ' registered a passkey'];
    case 'session.put': {
      const done: Record<string, string> = { in: ' signed in', out: ' signed out', out_all: ' was signed out everywhere' };
      return [said(b.person), done[str(b.op)] ?? ': a session changed'];
    }
    case 'status.block':
      return ['A process draws a status list of ', str(b.size)];
    case 'enforcement.reported':
      return [...by, ' reports ', said(b.kind), ' of the gateway ', said(b.gateway)];
    case 'edge.refused':
      return ['A record of ', ...by, ' was not understood: ', said(b.why)];
    case 'log.exported':
      return [...by, ` exported ${str(b.entries)} ${b.entries === 1 ? 'entry' : 'entries'} as evidence`, ...why(b)];
    case 'service.started':
      return ['The service started, version ', said(b.version)];
    case 'service.stopping':
      return ['The service stopped'];
    case 'log.heartbeat':
      return [`Nothing happened for ${str(b.interval_seconds)} s on `, said(b.name)];
  }
  return [...by, ': ', said(e.kind), ...why(b)];
}

/** plain is a sentence as one text. */
export const plain = (parts: Part[]) => parts.map((p) => (typeof p === 'string' ? p : p.said)).join('');

/** The kinds that the page offers, in groups. */
export const kinds: { value: string; text: string }[] = [
  ['decision.made', 'Decisions'],
  ['outcome.reported', 'Outcomes'],
  ['agent.put', 'Agents'],
  ['trust.put', 'Trust set by hand'],
  ['finding.judged', 'Findings judged'],
  ['approval.asked', 'Asks'],
  ['approval.answered', 'Answers'],
  ['approval.used', 'Approvals used'],
  ['policy.publish', 'Policies published'],
  ['alert.put', 'Alerts'],
  ['stop.put', 'Stops'],
  ['indicator.put', 'Threat indicators'],
  ['token.issued', 'Passports'],
  ['token.revoked', 'Passports revoked'],
  ['credential.put', 'Keys of agents'],
  ['key.put', 'Keys of the service'],
  ['caller.put', 'API tokens'],
  ['person.put', 'Persons'],
  ['session.put', 'Signing in and out'],
  ['enforcement.reported', 'Enforcement points'],
  ['log.exported', 'Exports'],
  ['service.started', 'Starts'],
].map(([value, text]) => ({ value: value!, text: text! }));
