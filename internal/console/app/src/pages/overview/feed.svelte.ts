/** What happens while it happens: the stream of the service, kept so that it can be read. */

import { base } from '../../lib/here';
import { effect, type Tone } from '../../lib/words';

export interface Decision {
  id: string; seq: number; at: string; agent?: string; subject?: string; purpose?: string; owner?: string; on_behalf?: string[];
  action: string; resource: { type: string; id: string }; effect: string; code: string; reason?: string; pep?: string; session?: string;
  changes?: number; shadow?: boolean; lifted?: boolean;
}

/** A line is one thing that happened, as it is read. */
export interface Line {
  key: string;
  type: string; // decision, approval, ...
  at: string;
  tone: Tone;
  word: string; // the badge
  mark: string;
  path?: string; // where it is explained
  data: any;
}

export interface Sample { told: number; of: number; by: Record<string, { told: number; of: number }> }

const kept = 250; // lines
const rate = 20; // decisions a second: more cannot be read
const breath = 200; // ms between changes of the page
const types = 'decision,approval,alert,policy,agent,finding,quarantine';

/** lineOf reads an event of the stream. */
export function lineOf(type: string, id: string, d: any): Line | undefined {
  const line = (word: string, mark: string, tone: Tone, path?: string): Line => ({ key: `${type} ${d.seq} ${d.finding?.id ?? ''}`, type, at: d.at, tone, word, mark, path, data: d });
  switch (type) {
    case 'decision': {
      const { text, mark, tone } = effect(d.effect);
      return line(text, mark, tone, `/decisions/${encodeURIComponent(d.id)}`);
    }
    case 'approval': // who did it is told to whom may read the ask
      return line(d.what === 'asked' ? 'Asks' : d.what === 'approved' || d.what === 'answered' ? 'Answer' : 'Ask ended', '?', 'ask', d.by ? `/approvals/${encodeURIComponent(d.ask)}` : undefined);
    case 'alert':
      return line('Alert', '!', d.what === 'cleared' ? 'quiet' : 'deny', '/incidents');
    case 'policy':
      return line('Policy', '§', 'accent', `/policies/${d.version}`);
    case 'agent':
      return line('Agent', '●', d.state === 'active' ? 'accent' : 'ask', `/agents/${encodeURIComponent(d.agent)}`);
    case 'finding':
      return d.finding ? line('Finding', '▅', d.finding.severity === 'low' ? 'quiet' : d.finding.severity === 'medium' ? 'ask' : 'deny', `/findings/${encodeURIComponent(d.finding.id)}`) : undefined;
    case 'quarantine':
      return line('Quarantine', '■', 'deny', `/agents/${encodeURIComponent(d.agent)}`);
  }
  return undefined;
}

/** A Feed follows the stream while its component is there. */
export class Feed {
  lines = $state.raw<Line[]>([]);
  state = $state<'connecting' | 'open' | 'lost'>('connecting');
  held = $state(0); // lines that came while it is paused
  perSecond = $state(0);
  sampled = $state.raw<Sample>();
  missed = $state(0); // log entries of which nothing was told
  paused = $state(false);
  #waiting: Line[] = [];
  #seen = new Set<string>();
  #counted = 0;
  #lastSample = 0;
  /** What was decided since it was asked last, for those who hear the page. */
  since: Record<string, number> = {};

  constructor(filter: () => { effects: string; agent: string }) {
    $effect(() => {
      const { effects, agent } = filter();
      this.lines = [];
      this.#waiting = [];
      this.#seen.clear();
      this.held = 0;
      this.missed = 0;
      const q = new URLSearchParams({ types: effects ? 'decision' : types, rate: String(rate), last: '40' });
      if (effects) q.set('effects', effects);
      if (agent) q.set('agent', agent);
      let source: EventSource | undefined;
      let again: ReturnType<typeof setTimeout> | undefined;
      const open = () => {
        this.state = 'connecting';
        const s = new EventSource(`${base}/v1/stream?${q}`);
        source = s;
        s.addEventListener('start', () => (this.state = 'open'));
        s.addEventListener('error', () => {
          this.state = 'lost';
          if (s.readyState === EventSource.CLOSED) again = setTimeout(open, 5000);
        });
        s.addEventListener('sample', (e) => this.#sample(JSON.parse((e as MessageEvent<string>).data)));
        s.addEventListener('gap', (e) => {
          const g = JSON.parse((e as MessageEvent<string>).data);
          if (!g.types) this.missed += g.entries;
        });
        for (const t of types.split(',')) {
          s.addEventListener(t, (e) => {
            const m = e as MessageEvent<string>;
            const l = lineOf(t, m.lastEventId, JSON.parse(m.data));
            if (l) this.#take(l);
          });
        }
      };
      open();
      const flush = setInterval(() => this.#show(), breath);
      const quiet = setInterval(() => {
        if (Date.now() - this.#lastSample > 2500 && this.perSecond !== 0) this.perSecond = 0;
      }, 1000);
      return () => {
        source?.close();
        clearTimeout(again);
        clearInterval(flush);
        clearInterval(quiet);
      };
    });
  }

  #sample(s: Sample) {
    this.#lastSample = Date.now();
    this.perSecond = s.of;
    this.sampled = s.told < s.of ? s : undefined;
    for (const [k, v] of Object.entries(s.by)) this.since[k] = (this.since[k] ?? 0) + v.of;
  }

  #take(l: Line) {
    if (this.#seen.has(l.key)) return;
    this.#seen.add(l.key);
    this.#waiting.push(l);
    if (this.#waiting.length > kept) this.#seen.delete(this.#waiting.shift()!.key);
  }

  #show() {
    if (this.paused) {
      if (this.held !== this.#waiting.length) this.held = this.#waiting.length;
      return;
    }
    if (this.held) this.held = 0;
    if (this.#waiting.length === 0 || document.visibilityState === 'hidden') return;
    const next = this.#waiting.reverse().concat(this.lines);
    this.#waiting = [];
    for (const l of next.splice(kept)) this.#seen.delete(l.key);
    this.lines = next;
  }
}
