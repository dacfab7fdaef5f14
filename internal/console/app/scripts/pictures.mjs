// Takes the pictures of the README from a service that runs, such as `safeconduct demo --listen 127.0.0.1:8180`:
//   CONSOLE_URL=http://127.0.0.1:8180 CONSOLE_ADMIN_TOKEN=sc_admin_... npm run pictures
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';

const url = process.env.CONSOLE_URL ?? 'http://127.0.0.1:8180';
const headers = { Authorization: `Bearer ${process.env.CONSOLE_ADMIN_TOKEN}` };
const out = fileURLToPath(new URL('../../../../docs/images/', import.meta.url));
mkdirSync(out, { recursive: true });

const json = async (path) => (await fetch(url + path, { headers })).json();
const denied = await json('/v1/audit/entries?kind=decision.made&outcome=require_approval&limit=1');
const decision = `d${denied.items[0].seq}`;

const pages = [
  ['overview', '', 'light'],
  ['overview-dark', '', 'dark'],
  ['agent', 'agents/banking.gpt-4o-2024-05-13', 'light'],
  ['decision', `decisions/${decision}`, 'light'],
  ['policies', 'policies/edit', 'dark'],
  ['proof', `audit/${denied.items[0].seq}`, 'light'],
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--headless'] });
for (const [name, path, colorScheme] of pages) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme, extraHTTPHeaders: headers });
  await page.goto(`${url}/console/${path}`);
  await page.waitForTimeout(2500);
  await page.screenshot({ path: `${out}console-${name}.png` });
  await page.close();
}
await browser.close();
