/** Keys among tabs, as people who use keyboards know them. */

/** arrows chooses another tab of a list and puts the cursor there: the one beside, around the ends, or the first or last. */
export function arrows(e: KeyboardEvent, choose: (at: number) => void) {
  const tab = e.currentTarget as HTMLElement;
  const tabs = [...(tab.closest('[role=tablist]')?.querySelectorAll<HTMLElement>('[role=tab]') ?? [])];
  const at = tabs.indexOf(tab);
  const to = { ArrowRight: (at + 1) % tabs.length, ArrowLeft: (at - 1 + tabs.length) % tabs.length, Home: 0, End: tabs.length - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  choose(to);
  tabs[to]?.focus();
}
