/** What a page asks the API for, and how far that has come. */

import { untrack } from 'svelte';

/**
 * A Query asks again when something it reads changes, when it is told to, and, if wanted, every while as long as the page is
 * visible. Make it while a component is made: `const agents = new Query((signal) => ok(api.GET('/v1/agents', { signal })))`.
 * While it asks again, `data` is what was answered last; with `keep: false` only if it asks the same: where the page says above the
 * answer what was asked for, the answer to something else must not stand there.
 */
export class Query<T> {
  data = $state.raw<T>();
  error = $state.raw<unknown>();
  /** Whether an answer is awaited. */
  loading = $state(true);
  /** When the last answer came, in ms. */
  at = $state(0);
  #again = $state(0);

  constructor(ask: (signal: AbortSignal) => Promise<T>, options: { every?: number; keep?: boolean } = {}) {
    let asked = -1;
    $effect(() => {
      const same = asked !== this.#again; // it was told to ask again; nothing that it reads has changed
      asked = this.#again;
      const c = new AbortController();
      let answer: Promise<T>;
      try {
        answer = ask(c.signal);
      } catch (e) {
        answer = Promise.reject(e);
      }
      untrack(() => {
        this.loading = true;
        if (options.keep === false && !same) this.data = this.error = undefined;
      });
      answer.then(
        (data) => {
          if (c.signal.aborted) return;
          this.data = data;
          this.error = undefined;
          this.loading = false;
          this.at = Date.now();
        },
        (e: unknown) => {
          if (c.signal.aborted) return;
          this.error = e;
          this.loading = false;
        },
      );
      return () => c.abort();
    });
    if (options.every) {
      $effect(() => {
        const t = setInterval(() => {
          if (document.visibilityState === 'visible' && !untrack(() => this.loading)) this.refresh();
        }, options.every);
        return () => clearInterval(t);
      });
    }
  }

  /** refresh asks again. */
  refresh() {
    this.#again++;
  }

  /** set replaces what was answered, after a change whose answer says it. */
  set(data: T) {
    this.data = data;
    this.error = undefined;
  }
}

/** A Pager is a list that grows page by page. */
export class Pager<T, C> {
  items = $state.raw<T[]>([]);
  error = $state.raw<unknown>();
  loading = $state(true);
  done = $state(false);
  #next: C | undefined;
  #begun = false; // whether the first page has come
  #page: (after: C | undefined, signal: AbortSignal) => Promise<{ items: T[]; next?: C }>;
  #stop = new AbortController();

  constructor(page: (after: C | undefined, signal: AbortSignal) => Promise<{ items: T[]; next?: C }>) {
    this.#page = page;
    $effect(() => {
      // What page reads at once, before it waits, begins the list anew when it changes.
      this.#stop = new AbortController();
      const stop = this.#stop;
      const first = page(undefined, stop.signal);
      untrack(() => {
        this.#next = undefined;
        this.#begun = false;
        this.done = false;
        this.error = undefined;
        this.#take(first, stop, true);
      });
      return () => stop.abort();
    });
  }

  /** more asks for the next page, or once more for the first. */
  more() {
    if (this.loading || this.done) return;
    this.#take(this.#page(this.#next, this.#stop.signal), this.#stop, !this.#begun);
  }

  #take(answer: Promise<{ items: T[]; next?: C }>, stop: AbortController, first: boolean) {
    this.loading = true;
    answer.then(
      (a) => {
        if (stop.signal.aborted) return;
        this.items = first ? a.items : [...this.items, ...a.items];
        this.#begun = true;
        this.#next = a.next || undefined;
        this.done = !a.next;
        this.error = undefined;
        this.loading = false;
      },
      (e: unknown) => {
        if (stop.signal.aborted) return;
        // What is there answered another question: it must not stand under this one.
        if (first) this.items = [];
        this.error = e;
        this.loading = false;
      },
    );
  }
}
