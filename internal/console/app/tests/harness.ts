/** What the tests of the pages share: the service, somebody who is signed in, and what must hold on every page. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test as plain, type APIRequestContext, type Page } from '@playwright/test';

export const url = process.env.CONSOLE_URL ?? 'http://localhost:8180';
export const adminToken = process.env.CONSOLE_ADMIN_TOKEN ?? '';
export const pepToken = process.env.CONSOLE_PEP_TOKEN ?? '';

/** test fails if the page writes an error, throws, breaks its own policy, or asks another host for anything. */
export const test = plain.extend<{ strict: void }>({
  strict: [
    async ({ page }, use) => {
      const wrong: string[] = [];
      page.on('pageerror', (e) => wrong.push(`thrown: ${e.message}`));
      page.on('console', (m) => {
        // What the API refuses on purpose is in the browser's own log, too.
        if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) wrong.push(`console: ${m.text()}`);
      });
      page.on('request', (r) => {
        if (!r.url().startsWith(url) && !r.url().startsWith('blob:') && !r.url().startsWith('data:')) wrong.push(`asked elsewhere: ${r.url()}`);
      });
      await use();
      expect(wrong).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** call asks the API as an administrator, or by another token, and returns the answer's body. */
export async function call(request: APIRequestContext, method: string, path: string, body?: unknown, token = adminToken): Promise<any> {
  const r = await request.fetch(url + path, { method, data: body as object, headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' } });
  const text = await r.text();
  if (!r.ok()) throw new Error(`${method} ${path}: ${r.status()} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

/** asToken has the page call by a bearer token in place of a session. */
export async function asToken(page: Page, token = adminToken): Promise<void> {
  await page.setExtraHTTPHeaders({ Authorization: `Bearer ${token}` });
}

/** signInByLink signs the page in as a person who is known, by a link and its button. */
export async function signInByLink(page: Page, id: string): Promise<void> {
  const link = await call(page.request, 'POST', `/v1/people/${id}/link`, { why: 'test' });
  await page.goto(link.url);
  await page.getByRole('button', { name: /^Sign in as/ }).click();
  await expect(page).toHaveURL(/\/console\/(approvals)?$/);
}

/** balance is an act that the example organisation allows, whatever other tests have done. */
export const balance = {
  subject: { type: 'agent', id: 'banking.claude-3-sonnet-20240229' },
  action: { name: 'get_balance' },
  resource: { type: 'Account', id: 'own' },
  context: { on_behalf_of: [{ type: 'user', id: 'emma' }], observed: { ip: '10.20.0.7' } },
};

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** accessible fails if axe finds something against WCAG 2.2 AA. What a page looks like is no other on another database: CONSOLE_JOURNEYS leaves it out. */
export async function accessible(page: Page): Promise<void> {
  if (process.env.CONSOLE_JOURNEYS) return;
  // Colours are looked at once they have changed: a theme comes by transitions.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((a) => a.effect?.getComputedTiming().endTime !== Infinity).map((a) => a.finished)));
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const r = await (window as any).axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return r.violations.map((v: any) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n: any) => n.target.join(' ')).join(' | ')}`);
  });
  expect(found).toEqual([]);
}

/** both looks at a page in both themes. */
export async function inBothThemes(page: Page, look: () => Promise<void>): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await look();
  }
}
