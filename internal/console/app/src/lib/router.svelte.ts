/** The address of the page, and what it shows. Links are ordinary links: the router takes those that stay in the console. */

import { home } from './here';

/** A place is an address below the console, split. */
export interface Place {
  path: string; // begins with a slash
  query: URLSearchParams;
}

function read(): Place {
  const path = location.pathname.startsWith(home) ? location.pathname.slice(home.length) : location.pathname;
  return { path: path || '/', query: new URLSearchParams(location.search) };
}

class Router {
  place = $state.raw<Place>(read());

  constructor() {
    addEventListener('popstate', () => (this.place = read()));
    document.addEventListener('click', (e) => {
      const a = (e.target as Element | null)?.closest?.('a');
      if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
      if (a.target || a.hasAttribute('download') || a.dataset.load !== undefined || a.origin !== location.origin || !a.pathname.startsWith(`${home}/`)) return;
      e.preventDefault();
      this.go(a.pathname.slice(home.length) + a.search);
    });
  }

  /** Goes to an address below the console, such as /agents?state=active. */
  go(to: string, options: { replace?: boolean } = {}) {
    const url = home + to;
    if (options.replace) history.replaceState(null, '', url);
    else if (url !== location.pathname + location.search) history.pushState(null, '', url);
    this.place = read();
    if (!options.replace) scrollTo(0, 0);
  }

  /** Sets parameters of the query, or removes those that are empty, without a step in the history: filters live there. */
  query(set: Record<string, string | number | boolean | undefined | null>) {
    const q = new URLSearchParams(this.place.query);
    for (const [k, v] of Object.entries(set)) {
      if (v === undefined || v === null || v === '' || v === false) q.delete(k);
      else q.set(k, String(v));
    }
    const text = q.toString();
    this.go(this.place.path + (text && `?${text}`), { replace: true });
  }
}

export const router = new Router();

/** The address of a link to a place below the console. */
export function to(path: string, query?: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query ?? {})) if (v !== undefined && v !== '') q.set(k, String(v));
  const text = q.toString();
  return home + path + (text && `?${text}`);
}

/** match returns what the parts of a pattern such as /agents/:id stand for, or nothing. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const want = pattern.split('/');
  const have = path.replace(/\/$/, '').split('/');
  if (pattern === '/') return have.length <= 1 ? {} : undefined;
  if (want.length !== have.length) return undefined;
  const found: Record<string, string> = {};
  for (let i = 0; i < want.length; i++) {
    const w = want[i]!;
    if (w.startsWith(':')) {
      if (!have[i]) return undefined;
      try {
        found[w.slice(1)] = decodeURIComponent(have[i]!);
      } catch {
        return undefined; // not an encoding of any text
      }
    } else if (w !== have[i]) return undefined;
  }
  return found;
}
