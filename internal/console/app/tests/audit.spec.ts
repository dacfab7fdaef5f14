import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accessible, asToken, balance, call, expect, inBothThemes, pepToken, test, url } from './harness';

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
  test.setTimeout(90_000);
  await asToken(page);
  // Asked together, decisions are recorded together: in one batch.
  await call(request, 'POST', '/access/v1/evaluations', { ...balance, evaluations: [{}, {}, {}] }, pepToken);
  const newest = (await call(request, 'GET', '/v1/audit/entries?kind=decision.made&limit=3')).items;
  const e = newest[1];
  await page.goto(`audit/${e.seq}`);
  await expect(page.getByText(`Entry ${e.seq} is in the log, unchanged`)).toBeVisible();
  await expect(page.getByText('not reached')).toHaveCount(0);
  await page.getByText('5. In the log').click();
  const proof = await call(request, 'GET', `/v1/audit/entries/${e.seq}/proof`);
  const { key } = await call(request, 'GET', '/v1/audit/key');
  await page.getByText('6. Signed').click();
  await expect(page.getByText(key.split('+')[1]).first()).toBeVisible();
  expect(proof.log_proof.length).toBeGreaterThan(0);
  expect(proof.batch_proof.length).toBeGreaterThan(0);
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
    ['batch_proof', (p) => (p.batch_proof[0] = flip(p.batch_proof[0]))],
    ['batch_proof is short', (p) => p.batch_proof.pop()],
    ['batch_proof is long', (p) => p.batch_proof.push(p.batch_proof[0])],
    ['a hash of batch_proof is cut', (p) => (p.batch_proof[0] = Buffer.from(p.batch_proof[0], 'base64').subarray(1).toString('base64'))],
    ['base64 of another alphabet', (p) => (p.salt = `-_${p.salt.slice(2)}`)],
    ['base64 without its end', (p) => (p.salt = p.salt.replace(/=+$/, ''))],
    ['base64 with bits that nothing reads', (p) => (p.salt = p.salt.replace(/[A-Za-z0-9+/]==$/, (last: string) => (last[0] === 'B' ? 'C==' : 'B==')))],
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

test('an entry is read strictly, and a large number as it is', async ({ page, request }) => {
  test.setTimeout(90_000);
  await asToken(page);
  const held = await decision(request, 'require_approval');
  const { subject, action, resource } = held.body.request;
  const large = '9007199254740993';
  const made = await request.post(`${url}/access/v1/evaluation`, {
    headers: { Authorization: `Bearer ${pepToken}`, 'Content-Type': 'application/json' },
    data: JSON.stringify({ subject: { type: subject.type, id: subject.id }, action: { ...action, properties: { ...action.properties, note: 'LARGE' } }, resource: { type: resource.type, id: resource.id } }).replace('"LARGE"', large),
  });
  const seq = Number(/d(\d+)/.exec((await made.json()).context.evaluation_id)![1]);
  await page.goto(`audit/${seq}`);
  await expect(page.getByText(`Entry ${seq} is in the log, unchanged`)).toBeVisible();
  await expect(page.getByText('bytes, as proved')).toBeVisible();
  await expect(page.locator('.tree').getByText(large)).toBeAttached();

  // There is one encoding of an entry: parts of it are changed, and their lengths with them.
  interface Parts { version: number; seq: bigint; micros: bigint; kind: Buffer; actor: Buffer; body: Buffer; after: Buffer }
  const read = (b: Buffer): Parts => {
    const kind = b.subarray(18, 18 + b[17]!);
    const actor = b.subarray(20 + kind.length, 20 + kind.length + b.readUInt16BE(18 + kind.length));
    return { version: b[0]!, seq: b.readBigUInt64BE(1), micros: b.readBigUInt64BE(9), kind, actor, body: b.subarray(24 + kind.length + actor.length), after: Buffer.alloc(0) };
  };
  const write = (e: Parts): Buffer => {
    const head = Buffer.alloc(18);
    head[0] = e.version;
    head.writeBigUInt64BE(e.seq, 1);
    head.writeBigUInt64BE(e.micros, 9);
    head[17] = e.kind.length;
    const [actor, body] = [Buffer.alloc(2), Buffer.alloc(4)];
    actor.writeUInt16BE(e.actor.length);
    body.writeUInt32BE(e.body.length);
    return Buffer.concat([head, e.kind, actor, e.actor, body, e.body, e.after]);
  };
  const wrong: [string, (e: Parts) => void][] = [
    ['the entry has not version 1', (e) => (e.version = 2)],
    ['the entry has the number 0 ', (e) => (e.seq = 0n)],
    ['the entry has the number 9007199254740992 ', (e) => (e.seq = 1n << 53n)],
    ['and the time 4611686018427387904', (e) => (e.micros = 1n << 62n)],
    ['the entry’s kind is not one', (e) => (e.kind = Buffer.from('Decision'))],
    ['the entry’s actor is not one', (e) => (e.actor = Buffer.alloc(0))],
    ['the entry’s actor is not one', (e) => (e.actor = Buffer.from('ann\n'))],
    ['the entry’s actor is not one', (e) => (e.actor = Buffer.alloc(513, 'a'))],
    ['a text is not UTF-8', (e) => (e.actor = Buffer.from([0xff]))],
    ['the entry’s body is not a JSON object', (e) => (e.body = Buffer.from('[]'))],
    ['the entry’s body is not a JSON object', (e) => (e.body = Buffer.from(`{"a":"${'a'.repeat(1 << 20)}"}`))],
    ['the entry’s body is not JSON', (e) => (e.body = Buffer.from('{a}'))],
    ['1 bytes follow the entry', (e) => (e.after = Buffer.alloc(1))],
  ];
  const proof = await call(request, 'GET', `/v1/audit/entries/${seq}/proof`);
  const whole = Buffer.from(proof.entry, 'base64');
  expect(write(read(whole)).equals(whole)).toBe(true);
  let sent: Buffer = whole;
  await page.route('**/v1/audit/entries/*/proof', (route) => route.fulfill({ json: { ...proof, entry: sent.toString('base64') } }));
  const box = page.getByText(/^The proof does not hold/);
  const forged = wrong.map(([why, change]): [string, Buffer] => {
    const parts = read(whole);
    change(parts);
    return [why, write(parts)];
  });
  forged.push(['the entry ends within its body', whole.subarray(0, whole.length - 1)]);
  for (const [why, entry] of forged) {
    sent = entry;
    await page.goto(`audit/${seq}`);
    await expect(box).toContainText(why);
    await expect(page.getByText('bytes, as proved')).toHaveCount(0);
  }
  await page.unroute('**/v1/audit/entries/*/proof');

  // Numbers of the leaf and the place of the batch, too.
  for (const change of [
    (p: any) => (p.leaf = p.leaf.replace(/\n\d+ /, '\n9007199254740992 ')),
    (p: any) => (p.leaf = p.leaf.replace(/ \d+\n/, ' 8193\n')),
    (p: any) => (p.batch = 2 ** 53),
    (p: any) => (p.batch += 0.5),
  ]) {
    await page.route('**/v1/audit/entries/*/proof', (route) => {
      const p = structuredClone(proof);
      change(p);
      return route.fulfill({ json: p });
    });
    await page.goto(`audit/${seq}`);
    await expect(box).toContainText(/the batch’s leaf is not one|leaf .* is not one of/);
    await page.unroute('**/v1/audit/entries/*/proof');
  }
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

test('of many checkpoints that were seen, the first and the last are kept', async ({ page, request }) => {
  await asToken(page);
  await page.goto('audit/checkpoints');
  await expect(page.getByText('Seen for the first time')).toBeVisible();
  // As if this browser had looked 40 times before this one.
  const before = await page.evaluate(() => {
    const name = Object.keys(localStorage).find((k) => k.startsWith('safeconduct.log.'))!;
    const m = JSON.parse(localStorage.getItem(name)!);
    const last = m.seen.at(-1);
    m.seen = [...Array.from({ length: 39 }, (_, i) => ({ ...last, at: i + 1 })), last];
    localStorage.setItem(name, JSON.stringify(m));
    return { size: last.size as number, sizes: m.seen.length as number };
  });
  expect(before.sizes).toBe(40);
  await call(request, 'PUT', '/v1/alerts/spec-grows', { kind: 'drill', severity: 'low', scope: { purpose: 'nobody-has-it' }, expires_at: new Date(Date.now() + 3_600_000).toISOString(), why: 'test' });
  await call(request, 'POST', '/v1/alerts/spec-grows/clear', { why: 'test' });
  await expect.poll(async () => (await call(request, 'GET', '/v1/audit/checkpoints?limit=1')).items[0].size).toBeGreaterThan(before.size);
  await page.reload();
  await expect(page.getByText('The log continues what was seen')).toBeVisible();
  const seen = await page.evaluate(() => JSON.parse(localStorage.getItem(Object.keys(localStorage).find((k) => k.startsWith('safeconduct.log.'))!)!).seen as { at: number; size: number }[]);
  expect(seen.map((s) => s.at).slice(0, 39)).toEqual([...Array.from({ length: 20 }, (_, i) => i + 1), ...Array.from({ length: 18 }, (_, i) => i + 22), seen[38]!.at]);
  expect(seen).toHaveLength(40);
  expect(seen.at(-1)!.size).toBeGreaterThan(before.size);
});

test('what is exported stands for itself', async ({ page, request }) => {
  test.setTimeout(120_000); // the command is built
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
