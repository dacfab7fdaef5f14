/**
 * The draft that is worked on: policies, schema, catalog, and cases to try them. It lives in this tab until it is published
 * or discarded; what the service is asked about it changes nothing there.
 */

import { api, ok, type Schemas } from '../../lib/api';
import { keep, kept } from '../../lib/kept';

export interface File {
  name: string;
  text: string;
}

export const schemaFile = 'schema.cedarschema';
export const catalogFile = 'catalog.yaml';

interface Kept {
  base: number;
  source: Schemas['PolicySource'];
  catalog: string;
  files: File[];
  schema: string;
  yaml: string;
  cases: File[];
}

const key = 'safeconduct.draft';

class Draft {
  /** The version that it was made of, 0 if none was published, undefined while it is not loaded. */
  base = $state<number>();
  files = $state.raw<File[]>([]);
  schema = $state('');
  catalog = $state('');
  cases = $state.raw<File[]>([]);
  #source = $state.raw<Schemas['PolicySource']>({ schema: '', files: [] });
  #catalog = $state('');
  /** Whether the browser has no room for it: it is lost when the tab is closed or loaded anew. */
  unkept = $state(false);

  sourceChanged = $derived(this.schema !== this.#source.schema || !sameFiles(this.files, this.#source.files));
  catalogChanged = $derived(this.catalog !== this.#catalog);
  changed = $derived(this.sourceChanged || this.catalogChanged);

  /** start loads the draft of this tab, or makes one of the active version. */
  async start(signal?: AbortSignal): Promise<void> {
    if (this.base !== undefined) return;
    try {
      const was = JSON.parse(kept(key, 'tab') ?? 'null') as Kept | null;
      if (was && Array.isArray(was.files) && typeof was.base === 'number') {
        [this.#source, this.#catalog, this.files, this.schema, this.catalog, this.cases] = [was.source, was.catalog, was.files, was.schema, was.yaml, was.cases ?? []];
        this.base = was.base;
        return;
      }
    } catch {
      keep(key, undefined, 'tab');
    }
    await this.again(signal);
  }

  /** again makes the draft of the active version, and drops what was changed. Cases stay. */
  async again(signal?: AbortSignal): Promise<void> {
    const answer = await api.GET('/v1/policies/active', { signal });
    if (answer.response.status === 404) return this.take({ version: 0, source: { schema: '', files: [{ name: 'policies.cedar', text: '' }] }, catalog: '{}\n' });
    this.take(await ok(Promise.resolve(answer)));
  }

  /** take makes the draft of a version. */
  take(v: { version: number; source: Schemas['PolicySource']; catalog: string }, base = v.version) {
    this.#source = v.source;
    this.#catalog = v.catalog;
    this.files = v.source.files.map((f) => ({ ...f }));
    this.schema = v.source.schema;
    this.catalog = v.catalog;
    this.base = base;
    this.keep();
  }

  /** published makes the draft one of the version that was published of it: nothing of it is a change any more. */
  published(version: number) {
    this.over({ version, source: { schema: this.schema, files: this.files }, catalog: this.catalog });
  }

  /** over moves the draft to another version as it is: what was changed there meanwhile is replaced. */
  over(v: { version: number; source: Schemas['PolicySource']; catalog: string }) {
    this.#source = v.source;
    this.#catalog = v.catalog;
    this.base = v.version;
    this.keep();
  }

  text(name: string): string {
    if (name === schemaFile) return this.schema;
    if (name === catalogFile) return this.catalog;
    return (this.cases.find((f) => f.name === name) ?? this.files.find((f) => f.name === name))?.text ?? '';
  }

  /** before is the text of a file as the version has it. */
  before(name: string): string | undefined {
    if (name === schemaFile) return this.#source.schema;
    if (name === catalogFile) return this.#catalog;
    return this.#source.files.find((f) => f.name === name)?.text;
  }

  write(name: string, text: string) {
    if (name === schemaFile) this.schema = text;
    else if (name === catalogFile) this.catalog = text;
    else if (this.cases.some((f) => f.name === name)) this.cases = this.cases.map((f) => (f.name === name ? { name, text } : f));
    else this.files = this.files.map((f) => (f.name === name ? { name, text } : f));
    this.keep();
  }

  has(name: string): boolean {
    return name === schemaFile || name === catalogFile || this.files.some((f) => f.name === name) || this.cases.some((f) => f.name === name);
  }

  add(name: string, text: string, cases = false) {
    if (cases) this.cases = [...this.cases.filter((f) => f.name !== name), { name, text }];
    else this.files = [...this.files, { name, text }];
    this.keep();
  }

  remove(name: string) {
    this.files = this.files.filter((f) => f.name !== name);
    this.cases = this.cases.filter((f) => f.name !== name);
    this.keep();
  }

  /** form is what the API is asked about: the parts that were changed. */
  get form(): { source?: Schemas['PolicySource']; catalog?: string } {
    return {
      ...(this.sourceChanged ? { source: { schema: this.schema, files: this.files } } : {}),
      ...(this.catalogChanged ? { catalog: this.catalog } : {}),
    };
  }

  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    addEventListener('pagehide', () => this.#timer && this.#write());
  }

  /** keep writes the draft into the tab's storage: after a pause, or when the page goes. */
  keep() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), 300);
  }

  #write() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now: Kept = { base: this.base ?? 0, source: this.#source, catalog: this.#catalog, files: this.files, schema: this.schema, yaml: this.catalog, cases: this.cases };
    const made = this.changed || this.cases.length > 0;
    this.unkept = !keep(key, made ? JSON.stringify(now) : undefined, 'tab') && made;
  }
}

function sameFiles(a: readonly File[], b: readonly File[]): boolean {
  return a.length === b.length && a.every((f, i) => f.name === b[i]!.name && f.text === b[i]!.text);
}

export const draft = new Draft();
