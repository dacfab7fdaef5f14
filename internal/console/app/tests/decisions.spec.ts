import { accessible, asToken, call, expect, inBothThemes, pepToken, test } from './harness';

const hostile = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>"'>{{1}}\u202e`;

test('a decision is explained step by step', async ({ page, request }) => {
  await asToken(page);
  const found = await call(request, 'GET', '/v1/audit/entries?kind=decision.made&outcome=require_approval&limit=1');
  const e = found.items[0];
  await page.goto(`decisions/d${e.seq}`);
  await expect(page.getByRole('heading', { level: 1, name: `Decision d${e.seq}` })).toBeVisible();
  await expect(page.getByRole('list', { name: 'The four steps' }).getByRole('listitem')).toHaveCount(4);
  await expect(page.getByText('Judged again: the same')).toBeVisible();
  await expect(page.getByRole('heading', { name: 'The smallest change with which it would be allowed' })).toBeVisible();
  await expect(page.locator('mark.holds').first()).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  const facts = page.getByRole('table', { name: 'Facts' });
  const few = await facts.getByRole('row').count();
  await page.getByRole('button', { name: /^Show all/ }).click();
  await expect(page).toHaveURL(/facts=all/);
  expect(await facts.getByRole('row').count()).toBeGreaterThan(few);
  await expect(facts.getByText('claimed').first()).toBeVisible();

  await page.getByRole('link', { name: 'Entry and proof' }).click();
  await expect(page.getByText(`Entry ${e.seq} is in the log, unchanged`)).toBeVisible();
  await page.getByRole('link', { name: 'Explain this decision' }).click();
  await expect(page).toHaveURL(new RegExp(`/decisions/d${e.seq}$`));

  await page.goto('decisions/d1');
  await expect(page.getByText('This could not be loaded')).toBeVisible();
  await page.goto('decisions/x');
  await expect(page.getByText('This could not be loaded')).toBeVisible();
  await accessible(page);
});

test('what agents write is shown as text', async ({ page, request }) => {
  await asToken(page);
  const found = await call(request, 'GET', '/v1/audit/entries?kind=decision.made&outcome=allow&limit=1');
  const ask = found.items[0].body.request;
  const body = {
    subject: { type: ask.subject.type, id: ask.subject.id },
    action: { name: ask.action.name, properties: { ...ask.action.properties, [hostile.replace(/[^ -~]/g, '')]: hostile } },
    resource: { type: ask.resource.type, id: `${ask.resource.id} ${hostile.replace(/[^ -~]/g, '')}` },
    context: { observed: { session: 'xss <b>1</b>', provenance: { untrusted: [hostile.replace(/[^ -~]/g, '')] } } },
  };
  const a = await call(request, 'POST', '/access/v1/evaluation', body, pepToken);
  const id = a.context.evaluation_id as string;
  await call(request, 'POST', `/v1/decisions/${id}/outcome`, { result: 'wrong', why: hostile.replace(/[^ -~]/g, '') });
  for (const path of [`decisions/${id}?facts=all`, `audit/${id.slice(1)}`, `audit?session=${encodeURIComponent('xss <b>1</b>')}`, `audit?kind=outcome.reported`]) {
    await page.goto(path);
    await expect(page.getByText('onerror').first()).toBeVisible();
    expect(await page.locator('img[src="x"]').count()).toBe(0);
    expect(await page.title()).not.toContain('taken');
    await accessible(page);
  }
  await page.goto(`decisions/${id}`);
  await expect(page.getByText('wrong', { exact: true })).toBeVisible();
});

test('the pages fit into a narrow window', async ({ page, request }) => {
  await asToken(page);
  await page.setViewportSize({ width: 390, height: 844 });
  const found = await call(request, 'GET', '/v1/audit/entries?kind=decision.made&outcome=require_approval&limit=1');
  for (const path of ['audit', `audit/${found.items[0].seq}`, 'audit/checkpoints', `decisions/d${found.items[0].seq}?facts=all`]) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
    await accessible(page);
  }
});
