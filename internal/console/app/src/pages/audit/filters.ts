/** What is searched for, as it stands in the page's address and as the API takes it. */

export const fields = ['text', 'kind', 'outcome', 'agent', 'action', 'resource', 'code', 'actor', 'session', 'behalf', 'decision', 'since', 'from', 'to'] as const;
export type Field = (typeof fields)[number];
export type Filters = Partial<Record<Field, string>>;

/** What each is called, and an example of it. */
export const about: Record<Field, { text: string; hint: string }> = {
  text: { text: 'Words', hint: 'words that all occur' },
  kind: { text: 'Kind', hint: '' },
  outcome: { text: 'Outcome', hint: '' },
  agent: { text: 'Agent', hint: 'id of an agent' },
  action: { text: 'Act', hint: 'send_money' },
  resource: { text: 'Resource', hint: 'Account:own' },
  code: { text: 'Code', hint: 'no_permit' },
  actor: { text: 'By', hint: 'admin:eve, pep:gateway' },
  session: { text: 'Session', hint: 'as the gateway keeps it' },
  behalf: { text: 'On behalf of', hint: 'user:emma' },
  decision: { text: 'About the decision', hint: 'd1719' },
  since: { text: 'Within', hint: '' },
  from: { text: 'From', hint: '' },
  to: { text: 'To', hint: '' },
};

export const spans: { value: string; text: string; ms: number }[] = [
  { value: '15m', text: 'the last 15 minutes', ms: 15 * 60e3 },
  { value: '1h', text: 'the last hour', ms: 60 * 60e3 },
  { value: '24h', text: 'the last day', ms: 24 * 60 * 60e3 },
  { value: '7d', text: 'the last 7 days', ms: 7 * 24 * 60 * 60e3 },
  { value: '30d', text: 'the last 30 days', ms: 30 * 24 * 60 * 60e3 },
];

export function read(q: URLSearchParams): Filters {
  const f: Filters = {};
  for (const name of fields) {
    const v = q.get(name)?.trim();
    if (v) f[name] = v;
  }
  return f;
}

/** The search as the API takes it. What is no time is left out. */
export function query(f: Filters, now = Date.now()): Record<string, string> {
  const q: Record<string, string> = {};
  for (const name of fields) {
    const v = f[name];
    if (!v || name === 'since' || name === 'from' || name === 'to') continue;
    q[name] = v;
  }
  const time = (v: string | undefined) => {
    const d = v ? new Date(v) : undefined;
    return d && !Number.isNaN(d.getTime()) ? d.toISOString() : undefined;
  };
  const span = spans.find((s) => s.value === f.since);
  const from = span ? new Date(now - span.ms).toISOString() : time(f.from);
  const to = time(f.to);
  if (from) q.from = from;
  if (to) q.to = to;
  return q;
}
