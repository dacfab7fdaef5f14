import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accessible, asToken, call, expect, inBothThemes, test } from './harness';

const root = join(import.meta.dirname, '../../../..');

/** The newest decision with that outcome. */
async function decision(request: Parameters<typeof call>[0], outcome: string): Promise<{ seq: number; body: any }> {
  const found = await call(request, 'GET', `/v1/audit/entries?kind=decision.made&outcome=${outcome}&limit=1`);
  return found.items[0];
}

test('the log is searched, by keyboard too, and a search can be linked to', async ({ page, request }) => {
  await asToken(page);
  await page.goto('audit');
  const table = page.getByRole('table', { name: 'Entries' });
  await expect(table.getByRole('row').nth(1)).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  await page.getByRole('combobox', { name: 'Outcome' }).selectOption('require_approval');
  await expect(page).toHaveURL(/outcome=require_approval/);
  await expect(table.getByText('Held for a person').first()).toBeVisible();
  await expect(table.getByText('Allowed')).toHaveCount(0);

  const held = await decision(request, 'require_approval');
  await page.getByRole('button', { name: 'More filters' }).click();
  await page.getByLabel('Act', { exact: true }).fill(held.body.request.action.name);
  await page.keyboard.press('Tab');
  await expect(page).toHaveURL(new RegExp(`action=${held.body.request.action.name}`));
  await accessible(page);

  await page.reload();
  await expect(page.getByRole('combobox', { name: 'Outcome' })).toHaveValue('require_approval');
  const first = table.getByRole('row').nth(1);
  await first.focus();
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/audit\/\d+$/);

  await page.goto('audit?text=nowheretobefound');
  await expect(page.getByText('Nothing was found')).toBeVisible();
  await page.goto('audit?session=nosuchsession&from=2020-01-01T00:00:00Z');
  await expect(page.getByText('Nothing was found')).toBeVisible();
  await accessible(page);
});

test('a proof is verified in the page, and a tampered one fails', async ({ page, request }) => {
  await asToken(page);
  const e = await decision(request, 'allow');
  await page.goto(`audit/${e.seq}`);
  await expect(page.getByText(`Entry ${e.seq} is in the log, unchanged`)).toBeVisible();
  await expect(page.getByText('not reached')).toHaveCount(0);
  await page.getByText('5. In the log').click();
  const proof = await call(request, 'GET', `/v1/audit/entries/${e.seq}/proof`);
  const { key } = await call(request, 'GET', '/v1/audit/key');
  await page.getByText('6. Signed').click();
  await expect(page.getByText(key.split('+')[1]).first()).toBeVisible();
  expect(proof.log_proof.length).toBeGreaterThan(0);
  await inBothThemes(page, () => accessible(page));

  // Each part of the proof, changed on its way.
  const flip = (b64: string) => {
    const b = Buffer.from(b64, 'base64');
    b[b.length >> 1]! ^= 1;
    return b.toString('base64');
  };
  const wrong: [string, (p: any) => void][] = [
    ['entry', (p) => (p.entry = flip(p.entry))],
    ['salt', (p) => (p.salt = flip(p.salt))],
    ['leaf', (p) => (p.leaf = p.leaf.replace(/^([^\n]+\n\d+ \d+\n\d+\n[0-9a-f]{15})./, (_: string, a: string) => a + (p.leaf.includes(`${a}0`) ? '1' : '0')))],
    ['log_proof', (p) => (p.log_proof[0] = flip(p.log_proof[0]))],
    ['log_proof is short', (p) => p.log_proof.pop()],
    ['batch', (p) => (p.batch = p.batch ? p.batch - 1 : 1)],
    ['checkpoint', (p) => (p.checkpoint = p.checkpoint.replace(/^([^\n]+\n\d+\n).{4}/, '$1AAAA'))],
    ['signature', (p) => (p.checkpoint = p.checkpoint.replace(/(\u2014 \S+ \S{20})(.)/, (_: string, a: string, c: string) => a + (c === 'A' ? 'B' : 'A')))],
  ];
  for (const [what, change] of wrong) {
    await page.route('**/v1/audit/entries/*/proof', async (route) => {
      const p = await (await route.fetch()).json();
      change(p);
      await route.fulfill({ json: p });
    });
    await page.goto(`audit/${e.seq}`);
    await expect(page.getByText(/^The proof does not hold/), what).toBeVisible();
    await expect(page.getByText(`Entry ${e.seq} is in the log, unchanged`), what).toHaveCount(0);
    await page.unroute('**/v1/audit/entries/*/proof');
  }

  // The proof of another entry, and an entry that is shown otherwise than it is proved.
  await page.route(`**/v1/audit/entries/${e.seq}/proof`, async (route) => {
    await route.fulfill({ json: await call(request, 'GET', `/v1/audit/entries/${e.seq - 1}/proof`) });
  });
  await page.goto(`audit/${e.seq}`);
  await expect(page.getByText(new RegExp(`The proof does not hold: this is entry ${e.seq - 1}`))).toBeVisible();
  await page.unroute(`**/v1/audit/entries/${e.seq}/proof`);
  await page.route(`**/v1/audit/entries/${e.seq}`, async (route) => {
    const shown = await (await route.fetch()).json();
    shown.body.decision.effect = 'deny';
    await route.fulfill({ json: shown });
  });
  await page.goto(`audit/${e.seq}`);
  await expect(page.getByText(/The proof does not hold: the service shows another entry/)).toBeVisible();
  await accessible(page);
});

test('a rewritten history is noticed', async ({ page }) => {
  await asToken(page);
  await page.goto('audit/checkpoints');
  await expect(page.getByText('Seen for the first time')).toBeVisible();
  await expect(page.getByText('None of these checkpoints is signed by anybody but the log itself.')).toBeVisible();
  await inBothThemes(page, () => accessible(page));
  await page.getByRole('button', { name: 'Compare again' }).click();
  await expect(page.getByText(/Unchanged|The log continues what was seen/)).toBeVisible();

  // What this browser remembers had another root: whoever holds the key has written another history.
  const spoil = (change: string) =>
    page.evaluate((change) => {
      const name = Object.keys(localStorage).find((k) => k.startsWith('safeconduct.log.'))!;
      const m = JSON.parse(localStorage.getItem(name)!);
      if (change === 'root') m.seen.at(-1).root = btoa('x'.repeat(32));
      else if (change === 'size') m.seen.at(-1).size += 1000;
      else m.key = m.key.replace(/\+[0-9a-f]{8}\+/, '+00000000+');
      localStorage.setItem(name, JSON.stringify(m));
    }, change);
  const kept = await page.evaluate(() => JSON.stringify(localStorage));
  const row = page.getByRole('table', { name: 'Checkpoints' }).getByRole('row').nth(1);
  for (const change of ['root', 'size', 'key']) {
    await spoil(change);
    await page.reload();
    await expect(page.getByText('The log was rewritten, or its key changed'), change).toBeVisible();
    if (change === 'key') {
      await row.click();
      await expect(page.getByRole('dialog').getByRole('alert')).toContainText('is not the one that this browser has seen before');
    }
    await page.evaluate((kept) => Object.entries(JSON.parse(kept)).forEach(([k, v]) => localStorage.setItem(k, v as string)), kept);
  }
  await page.reload();
  await expect(page.getByText(/Unchanged|The log continues what was seen/)).toBeVisible();

  await row.click();
  await expect(page.getByRole('dialog').getByText(/has signed it, and the log of today continues it/)).toBeVisible();
  await accessible(page);

  // An older one is compared with what was seen of it.
  await page.evaluate(() => {
    const name = Object.keys(localStorage).find((k) => k.startsWith('safeconduct.log.'))!;
    const m = JSON.parse(localStorage.getItem(name)!);
    const size = Number(document.querySelector('dialog[open] pre')!.textContent!.split('\n')[1]);
    m.seen = [{ size, root: btoa('x'.repeat(32)), note: '', at: 1 }, ...m.seen.filter((s: { size: number }) => s.size !== size)];
    localStorage.setItem(name, JSON.stringify(m));
  });
  await page.keyboard.press('Escape');
  await row.click();
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('it had another root');
});

test('what is exported stands for itself', async ({ page, request }) => {
  await asToken(page);
  await page.goto('audit?kind=decision.made&outcome=require_approval');
  await page.getByRole('button', { name: 'Export…' }).click();
  await page.getByLabel('At most').fill('5');
  await page.getByLabel('Why').fill('case 7 <b>');
  await accessible(page);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('dialog').getByRole('button', { name: 'Export' }).click()]);
  const dir = mkdtempSync(join(tmpdir(), 'bundle-'));
  const file = join(dir, download.suggestedFilename());
  await download.saveAs(file);
  await expect(page.getByRole('dialog').getByText(/was given to your browser/)).toBeVisible();

  const { key } = await call(request, 'GET', '/v1/audit/key');
  const verify = (f: string, ...args: string[]) => execFileSync('go', ['run', './cmd/safeconduct', 'audit', 'verify-bundle', f, ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  const said = verify(file, '--key', key);
  expect(said).toContain('5 entries are in the log');
  expect(said).toContain('case 7 <b>');
  expect(said).toContain('\nok\n');
  const zip = readFileSync(file);
  zip[zip.length >> 1]! ^= 1;
  writeFileSync(join(dir, 'forged.zip'), zip);
  expect(() => verify(join(dir, 'forged.zip'), '--key', key)).toThrow(/does not verify/);

  await page.getByRole('dialog').getByRole('link', { name: /^entry \d+$/ }).click();
  await expect(page.getByText(/exported 5 entries as evidence/)).toBeVisible();

  // Entries that are chosen by hand.
  await page.goto('audit?kind=decision.made');
  await page.getByRole('checkbox').nth(0).check();
  await page.getByRole('checkbox').nth(2).check();
  await page.getByRole('button', { name: 'Export 2…' }).click();
  await expect(page.getByText('2 entries that you chose')).toBeVisible();
});
