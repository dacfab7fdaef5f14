/** What wants somebody's attention, for the navigation: filled by whoever knows it. */

import type { Tone } from './words';

interface Note {
  text: string;
  means: string; // for screen readers: "waiting"
  tone: Tone;
}

class Attention {
  #notes = $state<Record<string, Note | undefined>>({});

  /** of returns what stands beside an entry of the navigation. */
  of(path: string): Note | undefined {
    return this.#notes[path];
  }

  set(path: string, note: Note | undefined) {
    this.#notes[path] = note;
  }
}

export const attention = new Attention();
