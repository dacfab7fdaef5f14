import { accessible, asToken, call, expect, inBothThemes, pepToken, test } from './harness';

const evil = '"><img src=x onerror="window.taken=1"><script>window.taken=1</script>';
const narrow = () => document.documentElement.scrollWidth <= innerWidth;

/** asked returns a request like one that is in the log, about another resource: one that needs nobody's approval and acts for nobody, if there is any. */
async function asked(request: Parameters<typeof call>[0], resource: string) {
  const found = await call(request, 'GET', '/v1/audit/entries?kind=decision.made&outcome=allow&limit=100');
  const plain = found.items.find((e: any) => !e.body.decision.lifted && !e.body.request.on_behalf?.length);
  const ask = (plain ?? found.items[0]).body.request;
  return { subject: { type: ask.subject.type, id: ask.subject.id }, action: ask.action, resource: { type: ask.resource.type, id: resource } };
}

test('the overview tells what happens, and holds still for who reads', async ({ page, request }) => {
  await asToken(page);
  await page.goto('');
  await expect(page.getByRole('region', { name: 'Health of the service' })).toContainText('Deciding');
  await expect(page.getByRole('img', { name: /Outcomes of the last hour/ })).toBeVisible();
  const rows = page.getByRole('list', { name: 'What happened, newest first' }).getByRole('listitem');
  await expect(rows.first()).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  // What agents wrote is text.
  const body = await asked(request, evil);
  const first = await call(request, 'POST', '/access/v1/evaluation', body, pepToken);
  await expect(rows.first()).toContainText(evil);
  expect(await page.evaluate(() => (window as any).taken)).toBeUndefined();

  // Paused, nothing moves, and what comes is counted.
  await page.keyboard.press('p');
  await expect(page.getByRole('button', { name: 'Go on' })).toBeVisible();
  await call(request, 'POST', '/access/v1/evaluation', { ...body, resource: { ...body.resource, id: 'later-thing' } }, pepToken);
  await expect(page.getByText('Paused: 1 more')).toBeVisible();
  await expect(page.getByText('later-thing')).toHaveCount(0);
  await page.keyboard.press('p');
  await expect(rows.first()).toContainText('later-thing');

  // A list that was read when another was chosen is read no more; paused, it says so.
  await rows.first().hover();
  await expect(page.getByText('Held while you read')).toBeVisible();
  await page.getByRole('combobox', { name: 'Outcome' }).selectOption('refused');
  await expect(page.locator('[data-row].allow')).toHaveCount(0);
  await expect(rows.first()).toBeVisible();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('combobox', { name: 'Outcome' }).selectOption('');
  await expect(page.getByText(/Paused: \d+ came/)).toBeVisible();
  await page.getByRole('button', { name: 'Go on' }).first().click();
  await expect(rows.first()).toContainText('later-thing');

  // By keys to what explains it; a filter is the service's.
  await rows.first().focus();
  await page.keyboard.press('j');
  await expect(rows.nth(1)).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/decisions/${first.context.evaluation_id}$`));
  await page.goto('?outcome=refused');
  await expect(rows.first()).toContainText(/Denied|Held for a person/); // as everywhere
  await expect(page.getByRole('combobox', { name: 'Outcome' }).getByRole('option')).toHaveText(['Everything', 'Not allowed', 'Allowed', 'Held for a person', 'Step up', 'Denied']);
  await expect(page.locator('[data-row].allow')).toHaveCount(0);
  for (const width of [1440, 1024, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await expect.poll(() => page.evaluate(narrow), { message: `at ${width} px` }).toBe(true);
  }
});

test('a thousand decisions a second are told as a sample', async ({ page, request }) => {
  await asToken(page);
  await page.goto('');
  await expect(page.locator('[data-row]').first()).toBeVisible();
  const one = await asked(request, 'many');
  const many = { evaluations: Array.from({ length: 50 }, () => one) };
  const sample = expect(page.getByText(/^A sample: \d+ of/)).toBeVisible({ timeout: 15_000 });
  const until = Date.now() + 4000;
  while (Date.now() < until) {
    const began = Date.now();
    await call(request, 'POST', '/access/v1/evaluations', many, pepToken);
    await new Promise((r) => setTimeout(r, Math.max(0, 50 - (Date.now() - began))));
  }
  await sample;
  expect(await page.locator('[data-row]').count()).toBeLessThanOrEqual(250);
});

test('the report is in plain words, prints, and says what is not known', async ({ page, request }) => {
  await asToken(page);
  await page.goto('report');
  await expect(page.getByRole('heading', { level: 1, name: /What agents did in/ })).toBeVisible();
  await expect(page.getByText('is recorded nowhere, and is not estimated')).toBeVisible();
  await expect(page.getByRole('columnheader', { name: 'Purpose' })).toBeVisible();
  await inBothThemes(page, () => accessible(page));
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate(narrow)).toBe(true);
  await page.emulateMedia({ media: 'print' });
  await expect(page.getByRole('button', { name: 'Print' })).toBeHidden();
  await page.emulateMedia({ media: 'screen' });
  const csv = await page.getByRole('link', { name: 'CSV' }).getAttribute('href');
  expect(csv).toContain('/v1/report?format=csv');
  await page.goto('report?month=2020-01');
  await expect(page.getByText(/No agent asked for anything/)).toBeVisible();
  await call(request, 'GET', '/v1/report');

  // No month's figures stand under the title of another, also if there are none.
  await page.goto('report');
  await expect(page.getByRole('region', { name: 'In short' })).toBeVisible();
  await page.route('**/v1/report?month=*', (route) => route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'not now' } } }));
  await page.getByRole('combobox', { name: 'Month' }).selectOption({ index: 1 });
  await expect(page.getByRole('alert')).toContainText('not now');
  await expect(page.getByRole('region', { name: 'In short' })).toHaveCount(0);
});

test('marks beside the navigation come and go', async ({ page, request }) => {
  await call(request, 'PUT', '/v1/alerts/spec-mark', { kind: 'drill', severity: 'low', scope: { purpose: 'nobody-has-it' }, expires_at: new Date(Date.now() + 3_600_000).toISOString(), why: 'test' });
  await asToken(page);
  await page.clock.install();
  await page.goto('agents');
  const link = page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: /^Incidents/ });
  await expect(link).toHaveText(/1\s*open alerts/);
  await call(request, 'POST', '/v1/alerts/spec-mark/clear', { why: 'test' });
  await page.clock.fastForward(21_000);
  await expect(link).toHaveText('Incidents');
});

test('enforcement points tell what they let through', async ({ page, request }) => {
  await asToken(page);
  await page.goto('points');
  await call(request, 'POST', '/v1/enforcement/reports', { kind: 'hello', gateway: `yard ${evil}`, version: 'v1', detail: { decide: 'remote', doors: ['http'], fail_open: ['status'] } }, pepToken);
  await call(request, 'POST', '/v1/enforcement/reports', { kind: 'tool_changed', gateway: `yard ${evil}`, detail: { server: 'files', tool: evil, was: 'a', now: 'b' } }, pepToken);
  // Nothing is said of them before the service has said it, and what changes is seen without loading.
  let held: () => void = () => undefined;
  const answer = new Promise<void>((go) => (held = go));
  await page.route('**/v1/enforcement/points?*', async (route) => {
    await answer;
    await route.continue();
  });
  await page.goto('points');
  await expect(page.getByText('Loading', { exact: true })).toBeAttached();
  await expect(page.getByText('nothing passes undecided')).toHaveCount(0);
  held();
  await page.getByRole('button', { name: /yard/ }).click();
  await expect(page.getByRole('heading', { name: 'Routes that fail open' })).toBeVisible();
  await expect(page.getByText(`files/${evil}`)).toBeVisible();
  expect(await page.evaluate(() => (window as any).taken)).toBeUndefined();
  await inBothThemes(page, () => accessible(page));
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate(narrow)).toBe(true);
  await call(request, 'POST', '/v1/enforcement/reports', { kind: 'hello', gateway: 'later', version: 'v1', detail: { decide: 'remote', doors: ['http'], fail_open: [] } }, pepToken);
  await expect(page.getByRole('button', { name: /later/ })).toBeVisible({ timeout: 15_000 });
  await page.goto('');
  await expect(page.getByRole('link', { name: /routes? fails? open/ })).toBeVisible();
});
