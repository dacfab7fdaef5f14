/** Short messages about what was done. They are read out, and go by themselves. */

interface Message {
  id: number;
  text: string;
  bad: boolean;
}

class Toasts {
  list = $state<Message[]>([]);
  #last = 0;

  #show(text: string, bad: boolean) {
    const id = ++this.#last;
    this.list.push({ id, text, bad });
    setTimeout(() => this.drop(id), bad ? 10_000 : 5000);
  }

  /** done says that something was done: past tense, one sentence. */
  done(text: string) {
    this.#show(text, false);
  }

  failed(text: string) {
    this.#show(text, true);
  }

  drop(id: number) {
    this.list = this.list.filter((m) => m.id !== id);
  }
}

export const toasts = new Toasts();
