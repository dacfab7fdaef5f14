import { asToken, call, expect, pepToken, test } from './harness';

test('a lost connection recovers, and two tabs tell the same', async ({ page, context, request }) => {
  const found = await call(request, 'GET', '/v1/audit/entries?kind=decision.made&outcome=allow&limit=1');
  const ask = found.items[0].body.request;
  const act = (resource: string) =>
    call(request, 'POST', '/access/v1/evaluation', { subject: { type: ask.subject.type, id: ask.subject.id }, action: ask.action, resource: { type: ask.resource.type, id: resource } }, pepToken);

  const other = await context.newPage();
  for (const p of [page, other]) {
    await asToken(p);
    await p.goto('');
    await expect(p.locator('[data-row]').first()).toBeVisible();
  }
  await act('seen-in-both');
  for (const p of [page, other]) await expect(p.getByText('seen-in-both').first()).toBeVisible();

  // One tab comes while the stream cannot be had, and says so; an agent acts meanwhile. What was missed is told when it can.
  await page.route('**/v1/stream**', (r) => r.abort());
  await page.reload();
  await expect(page.getByText('Connection lost, trying again')).toBeVisible();
  await act('while-it-was-away');
  await expect(other.getByText('while-it-was-away').first()).toBeVisible();
  await expect(page.getByText('while-it-was-away')).toHaveCount(0);
  await page.unroute('**/v1/stream**');
  await expect(page.getByText('while-it-was-away').first()).toBeVisible({ timeout: 20_000 });
  await expect(page.getByText('Connection lost, trying again')).toHaveCount(0);

  // What one tab changes, the other shows.
  const agent = 'banking.gpt-3.5-turbo-0125';
  const list = await call(request, 'GET', '/v1/agents?limit=1000');
  const id: string = list.items.some((a: any) => a.id === agent) ? agent : list.items.find((a: any) => a.state === 'active').id;
  await page.goto(`agents/${encodeURIComponent(id)}`);
  await other.goto(`agents/${encodeURIComponent(id)}`);
  await expect(other.getByText('Active').first()).toBeVisible();
  await call(request, 'POST', `/v1/agents/${encodeURIComponent(id)}/state`, { state: 'suspended', why: 'tries two tabs' });
  await expect(page.getByText('Suspended').first()).toBeVisible({ timeout: 20_000 });
  await expect(other.getByText('Suspended').first()).toBeVisible({ timeout: 20_000 });
  await call(request, 'POST', `/v1/agents/${encodeURIComponent(id)}/state`, { state: 'active', why: 'tried' });
});
