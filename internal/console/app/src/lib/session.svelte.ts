/** Who is signed in, and until when. */

import { base, home } from './here';
import { toasts } from './toast.svelte';

export interface Me {
  id: string;
  name: string;
  kind?: string; // person or token
  method?: string;
  roles: string[];
  passkeys?: number;
  signed_in_at?: string;
  expires_at?: string;
  idle_expires_at?: string;
}

/** How long after the last key or pointer somebody counts as being there. */
const there = 60_000;
/** How long before a session ends it is said. */
const warning = 3 * 60_000;

/** ask asks the service, and throws what can be told to people if there is no answer. */
async function ask(path: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(base + path, { credentials: 'same-origin', ...init });
  } catch {
    throw new Error('The service cannot be reached.');
  }
}

const refused = (r: Response) => new Error(`The service answered ${r.status} ${r.statusText}`.trim());

class Session {
  me = $state.raw<Me>();
  /** Whether the session has ended while the page was open. What is on the page stays. */
  over = $state(false);
  roles = $derived(this.me?.roles ?? []);
  name = $derived(this.me?.name || this.me?.id || '');
  /** What is said before the session ends: by itself, because nobody is there, or because it has lasted long enough. */
  soon = $state<{ left: number; idle: boolean }>();
  #asked = 0; // when we last asked who we are, in ms
  #input = Date.now(); // when somebody last did something

  constructor() {
    for (const what of ['pointerdown', 'keydown', 'wheel', 'touchstart']) {
      addEventListener(what, () => (this.#input = Date.now()), { capture: true, passive: true });
    }
    setInterval(() => void this.#watch(), 10_000);
  }

  /** Whether somebody is there. A request for nobody says so, and does not keep the session. */
  get background(): boolean {
    return Date.now() - this.#input > there;
  }

  async #watch() {
    const me = this.me;
    if (!me?.idle_expires_at || !me.expires_at || this.over) return;
    const now = Date.now();
    const idle = Date.parse(me.idle_expires_at);
    const ends = Date.parse(me.expires_at);
    const left = Math.min(idle, ends) - now;
    // Somebody is there, or was in another window: the service knows.
    if ((!this.background && now - this.#asked > there) || (left < warning && now - this.#asked > 30_000)) {
      try {
        if (!(await this.load())) this.over = true;
      } catch {
        // The service is away; whether the session has ended is seen when it is back.
      }
      return;
    }
    this.#say(me);
  }

  #say(me: Me) {
    if (!me.idle_expires_at || !me.expires_at) return;
    const idle = Date.parse(me.idle_expires_at);
    const ends = Date.parse(me.expires_at);
    const left = Math.min(idle, ends) - Date.now();
    this.soon = left < warning ? { left: Math.max(0, left), idle: idle < ends } : undefined;
  }

  /** stay says that somebody is there. */
  async stay() {
    this.#input = Date.now();
    try {
      if (!(await this.load())) this.over = true;
    } catch (e) {
      toasts.failed(`The service was not told that you are here. ${(e as Error).message}`);
    }
  }

  /** load asks who is signed in. It returns false if nobody is. */
  async load(): Promise<boolean> {
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (this.background) headers['X-Safeconduct-Background'] = '1';
    this.#asked = Date.now();
    const r = await ask('/v1/me', { headers });
    if (r.status === 401 || r.status === 403) return false;
    if (!r.ok) throw refused(r);
    this.me = (await r.json()) as Me;
    this.over = false;
    this.#say(this.me);
    return true;
  }

  ended() {
    if (this.me) this.over = true;
  }

  /** signIn leads to the page of signing in, which leads back here. */
  signIn() {
    const back = location.pathname.startsWith(home) ? location.pathname + location.search : `${home}/`;
    location.assign(`${base}/sign-in?return=${encodeURIComponent(back)}`);
  }

  /** signOut ends the session, and leads to the page of signing in. If the session could not be ended, it throws. */
  async signOut() {
    const r = await ask('/sign-out', { method: 'POST', headers: { 'X-Safeconduct-Request': '1', 'Content-Type': 'application/json' }, body: '{}' });
    if (!r.ok) throw refused(r);
    location.assign(`${base}/sign-in`);
  }
}

export const session = new Session();
