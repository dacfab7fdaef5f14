/** Where the service is, and the nonce of this page: the server writes both into it. */

const meta = (name: string) => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`);

/** The path of the service's public URL, without a slash at its end. */
export const base = meta('safeconduct-base')?.content ?? '';

/** The path of the console, without a slash at its end. In development it is the root. */
export const home = import.meta.env.DEV ? '' : `${base}/console`;

/** The nonce that style elements need which are made later (CodeMirror's). */
export const nonce = meta('safeconduct-nonce')?.nonce ?? '';
