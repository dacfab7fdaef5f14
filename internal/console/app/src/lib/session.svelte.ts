/** Who is signed in, and until when. */

import { base, home } from './here';

export interface Me {
  id: string;
  name: string;
  kind?: string; // person or token
  method?: string;
  roles: string[];
  passkeys?: number;
  expires_at?: string;
  idle_expires_at?: string;
}

class Session {
  me = $state.raw<Me>();
  /** Whether the session has ended while the page was open. What is on the page stays. */
  over = $state(false);
  roles = $derived(this.me?.roles ?? []);
  name = $derived(this.me?.name || this.me?.id || '');
  /** When the service last answered, in ms: until then we were not idle. */
  seen = $state(Date.now());

  /** load asks who is signed in. It returns false if nobody is. */
  async load(): Promise<boolean> {
    const r = await fetch(`${base}/v1/me`, { credentials: 'same-origin', headers: { Accept: 'application/json' } });
    if (r.status === 401 || r.status === 403) return false;
    if (r.status === 404) {
      this.me = { id: 'admin', name: 'admin', kind: 'token', roles: ['administrator'] }; // until the service says who
      return true;
    }
    if (!r.ok) throw new Error(`The service answered ${r.status} ${r.statusText}`);
    this.me = (await r.json()) as Me;
    this.over = false;
    this.touched();
    return true;
  }

  touched() {
    this.seen = Date.now();
  }

  ended() {
    if (this.me) this.over = true;
  }

  /** signIn leads to the page of signing in, which leads back here. */
  signIn() {
    const back = location.pathname.startsWith(home) ? location.pathname + location.search : `${home}/`;
    location.assign(`${base}/sign-in?return=${encodeURIComponent(back)}`);
  }

  async signOut() {
    await fetch(`${base}/sign-out`, { method: 'POST', credentials: 'same-origin', headers: { 'X-Safeconduct-Request': '1', 'Content-Type': 'application/json' }, body: '{}' });
    location.assign(`${base}/sign-in`);
  }
}

export const session = new Session();
