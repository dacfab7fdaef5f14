/** The theme: the system's, or one that was chosen by hand and is kept in this browser. */

import { keep, kept } from './kept';

export type Choice = 'system' | 'light' | 'dark';

const key = 'safeconduct-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function chosen(): Choice {
  const v = kept(key);
  return v === 'light' || v === 'dark' ? v : 'system';
}

class Theme {
  choice = $state<Choice>(chosen());
  #system = $state(system.matches);
  /** What is shown now. */
  dark = $derived(this.choice === 'system' ? this.#system : this.choice === 'dark');

  constructor() {
    system.addEventListener('change', (e) => {
      this.#system = e.matches;
      this.apply();
    });
    this.apply();
  }

  set(choice: Choice) {
    this.choice = choice;
    keep(key, choice === 'system' ? undefined : choice);
    this.apply();
  }

  apply() {
    const dark = this.choice === 'system' ? system.matches : this.choice === 'dark';
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }
}

export const theme = new Theme();

/** The value of a token of tokens.css, for what draws on a canvas. Read it again when theme.dark changes. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
