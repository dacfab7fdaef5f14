/** What this browser keeps for us. It may keep nothing: storage can be denied, full, or gone. */

type Where = 'browser' | 'tab';

const storage = (where: Where) => (where === 'tab' ? sessionStorage : localStorage);

/** kept returns what is kept under a name, if anything. */
export function kept(name: string, where: Where = 'browser'): string | undefined {
  try {
    return storage(where).getItem(name) ?? undefined;
  } catch {
    return undefined;
  }
}

/** keep keeps a text, or no longer keeps any, and reports whether it is so. */
export function keep(name: string, text: string | undefined, where: Where = 'browser'): boolean {
  try {
    if (text === undefined) storage(where).removeItem(name);
    else storage(where).setItem(name, text);
    return true;
  } catch {
    return false;
  }
}
