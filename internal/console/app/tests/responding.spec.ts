import type { APIRequestContext, Page } from '@playwright/test';
import { accessible, asToken, balance, call, expect, inBothThemes, pepToken, test } from './harness';

const agent = 'banking.gpt-4o-2024-05-13';
const hostile = '<img src=x onerror="document.title=\'owned\'"> Bill';

/** ask asks for a payment that a person must approve, and returns the ask's id. */
async function ask(request: APIRequestContext, amount: string, why = 'the rent is due'): Promise<string> {
  const act = {
    subject: { type: 'agent', id: agent },
    action: { name: 'send_money', properties: { recipient: 'DE02120300000000202051', amount: Number(amount), subject: hostile, date: '2026-11-30' } },
    resource: { type: 'Account', id: 'own' },
    context: { on_behalf_of: [{ type: 'user', id: 'emma' }], observed: { ip: '10.20.0.7', provenance: { untrusted: ['recipient'] } } },
  };
  const refused = await call(request, 'POST', '/access/v1/evaluation', act, pepToken);
  const { evaluation_id, access_request } = refused.context;
  const task = await call(request, 'POST', '/access/v1/requests', {
    ...act,
    context: { ...act.context, business_justification: why },
    denial: { evaluation_id, expires_at: access_request.expires_at, binding_token: access_request.binding_token },
  }, pepToken);
  return task.task_id ?? task.id ?? task.task?.id;
}

/** signIn makes emma known, with a passkey in a virtual authenticator, and signs her in. */
async function signIn(page: Page, request: APIRequestContext): Promise<void> {
  const { items } = await call(request, 'GET', '/v1/people');
  if (!items.some((p: any) => p.id === 'emma')) await call(request, 'PUT', '/v1/people/emma', { name: 'Emma', roles: ['approver', 'viewer'], why: 'test' });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  const link = await call(request, 'POST', '/v1/people/emma/enrolment', { why: 'test' });
  await page.goto(link.url);
  await page.getByRole('button', { name: 'Make a passkey' }).click();
  await expect(page.getByRole('status')).toContainText('was made for');
  await page.goto('approvals');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await expect(page).toHaveURL(/\/console\/approvals$/);
}

/** passkeys has the route of asks demand a passkey, or no longer. */
async function passkeys(request: APIRequestContext, demanded: boolean): Promise<void> {
  const active = await call(request, 'GET', '/v1/policies/active');
  const text: string = active.catalog;
  const catalog = demanded ? text.replace('self: true, pending', 'self: true, passkey: true, pending') : text.replace('self: true, passkey: true, pending', 'self: true, pending');
  expect(catalog).not.toBe(text);
  await call(request, 'POST', '/v1/policies', { catalog, if_version: active.version, why: 'test' });
}

test('an ask is refused by keyboard, and approved with a passkey', async ({ page, request }) => {
  await signIn(page, request);
  const looked = page.waitForResponse(/\/view$/);
  const first = await ask(request, '98.70');
  await expect(page.locator(`[data-ask="${first}"]`)).toBeVisible();
  await expect(page.getByRole('heading', { name: /asks to do "send_money"/ })).toBeVisible();
  await expect(page.getByRole('row', { name: /recipient/ })).toContainText('Untrusted');
  await expect(page.getByRole('row', { name: /subject/ })).toContainText(hostile);
  await expect(page.getByText('came from what others can write to')).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  await looked; // before which nothing is answered
  await page.keyboard.press('n');
  await page.keyboard.type('not this one');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Nothing waits for you')).toBeVisible();
  expect((await call(request, 'GET', `/v1/approvals/${first}`)).status).toBe('denied');

  await passkeys(request, true);
  const seen = page.waitForResponse(/\/view$/);
  const second = await ask(request, '97.70');
  await expect(page.locator(`[data-ask="${second}"]`)).toBeVisible();
  await expect(page.getByText('A yes needs your passkey.')).toBeVisible();
  await seen;
  await page.keyboard.press('y');
  await expect(page.getByRole('radio', { name: /Once, this very act/ })).toBeChecked();
  await accessible(page);
  await page.getByRole('button', { name: 'Approve with passkey' }).press('Enter');
  await expect(page.getByText('Nothing waits for you')).toBeVisible();
  const answered = await call(request, 'GET', `/v1/approvals/${second}`);
  expect(answered.status).toBe('approved');
  expect(answered.answers[0].passkey).toBe(true);
  await passkeys(request, false);
  expect(await page.title()).toBe('Approvals · Safeconduct');
});

test('what one reads and fills in stays while others ask and answer', async ({ page, request }) => {
  await signIn(page, request);
  await page.clock.install();
  const first = await ask(request, '95.70');
  // Of three acts, with a wider choice; then somebody else has answered the first of them.
  let status = 'pending';
  await page.route(`**/v1/approvals/${first}`, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    if (json.choices.length) json.choices.push({ title: 'Often', sentence: 'Often.', scope: { uses: 5 } });
    json.items = [{ ...json.items[0], status }, json.items[0], json.items[0]];
    json.acts = [0, 1, 2].map((i) => ({ ...json.acts[0], sentence: `act ${i}` }));
    await route.fulfill({ response, json });
  });
  const looked = page.waitForResponse(`**/v1/approvals/${first}/view`);
  await page.reload();
  const shown = page.locator('[data-ask][aria-current]');
  await expect(shown).toHaveAttribute('data-ask', first);
  await looked;
  await page.keyboard.press('y');
  await page.getByLabel('Often').check();
  await page.getByLabel('Times, at most 5').fill('2');
  await page.getByLabel('act 2').uncheck();
  status = 'approved';
  await page.clock.fastForward(15_000);
  await expect(page.getByLabel('act 0')).toHaveCount(0);
  await expect(page.getByLabel('Times, at most 5')).toHaveValue('2');
  let sent: any;
  await page.route(`**/v1/approvals/${first}/answer`, (route) => ((sent = route.request().postDataJSON()), route.fulfill({ json: {} })));
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await expect(page.getByText('Your yes is recorded.')).toBeVisible();
  expect(sent).toMatchObject({ yes: true, items: [1], scope: { uses: 2 } });

  // Another ask comes, and this one goes: what is looked at stays until one moves on.
  const second = await ask(request, '94.70');
  await expect(page.locator(`[data-ask="${second}"]`)).toBeVisible();
  await expect(shown).toHaveAttribute('data-ask', first);
  await page.reload();
  await expect(shown).toHaveAttribute('data-ask', second);
  const third = await ask(request, '93.70');
  await expect(page.locator(`[data-ask="${third}"]`)).toBeVisible();
  await call(request, 'POST', `/v1/approvals/${second}/cancel`, { why: 'test' });
  await expect(page.locator(`[data-ask="${second}"]`)).toHaveCount(0);
  await expect(page.getByRole('article')).toContainText(second);

  // What has only just come is not answered before the look is recorded.
  let recorded = () => {};
  const held = new Promise<void>((done) => (recorded = done));
  await page.route(`**/v1/approvals/${third}/view`, async (route) => (await held, route.continue()));
  const seen = page.waitForResponse(`**/v1/approvals/${third}/view`);
  await page.keyboard.press('j');
  await expect(page).toHaveURL(new RegExp(third));
  await page.getByRole('button', { name: 'Approve…' }).click();
  await page.getByRole('button', { name: 'Approve', exact: true }).press('Enter');
  await expect(page.getByRole('alert')).toContainText('You have only just opened this');
  expect((await call(request, 'GET', `/v1/approvals/${third}`)).status).toBe('pending');
  recorded();
  await seen;
  await page.waitForTimeout(200); // in which the page reads it
  await page.getByRole('button', { name: 'Approve', exact: true }).press('Enter');
  await expect(page.getByText('Your yes is recorded.')).toBeVisible();
  expect((await call(request, 'GET', `/v1/approvals/${third}`)).status).toBe('approved');
  await call(request, 'POST', `/v1/approvals/${first}/cancel`, { why: 'test' });
});

test('the inbox fits a telephone', async ({ page, request }) => {
  const id = await ask(request, '96.70');
  await page.setViewportSize({ width: 390, height: 844 });
  await asToken(page);
  await page.goto('approvals');
  await page.locator(`[data-ask="${id}"]`).click();
  await expect(page).toHaveURL(new RegExp(`/approvals/${id}`));
  await expect(page.getByRole('heading', { name: /asks to do/ })).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await accessible(page);
  await page.getByRole('button', { name: /asks?$/ }).click();
  await expect(page).toHaveURL(/\/approvals$/);
  await call(request, 'POST', `/v1/approvals/${id}/cancel`, { why: 'test' });
});

test('findings and incidents fit a telephone', async ({ page, request }) => {
  await call(request, 'PUT', '/v1/stops/narrow', { scope: { purpose: 'a-purpose-with-a-very-long-name-that-nobody-has' }, why: hostile });
  await page.setViewportSize({ width: 390, height: 844 });
  await asToken(page);
  for (const path of ['findings', 'incidents', 'incidents?tab=indicators', 'incidents?tab=stops']) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.locator('[aria-busy=true]')).toHaveCount(0);
    if (path.startsWith('incidents')) await expect(page.getByRole('region', { name: 'What is stopped' })).toContainText(hostile);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
    await inBothThemes(page, () => accessible(page));
  }
  await call(request, 'POST', '/v1/stops/narrow/lift', { why: 'test' });
});

test('a finding is looked at with its evidence, and judged by keyboard', async ({ page }) => {
  await asToken(page);
  await page.goto('findings');
  await expect(page.getByRole('table', { name: 'Findings' })).toBeVisible();
  await inBothThemes(page, () => accessible(page));
  await page.locator('tbody tr').first().focus();
  await page.keyboard.press('Enter');
  const panel = page.getByRole('dialog', { name: /^Finding f/ });
  await expect(panel.getByRole('list', { name: 'Evidence, oldest first' }).getByRole('link').first()).toBeVisible();
  await accessible(page);
  await page.keyboard.press('a');
  const confirm = page.getByRole('dialog', { name: /^Acknowledge f/ });
  await confirm.getByLabel('Why').fill('looking into it');
  await confirm.getByRole('button', { name: 'Acknowledge' }).click();
  await expect(panel).toContainText('Acknowledged');
  await page.keyboard.press('Escape');
  await expect(page).toHaveURL(/\/findings$/);
});

test('an alert shows what it would change before it is armed', async ({ page, request }) => {
  expect((await call(request, 'POST', '/access/v1/evaluation', { ...balance, subject: { type: 'agent', id: agent } }, pepToken)).decision).toBe(true);
  await asToken(page);
  await page.goto('incidents');
  await inBothThemes(page, () => accessible(page));
  await page.getByRole('button', { name: 'Raise an alert' }).click();
  const raise = page.getByRole('dialog', { name: 'Raise an alert' });
  await raise.getByLabel('Kind').fill('ransomware');
  await raise.getByLabel('Severity').selectOption('critical');
  const preview = raise.getByRole('region', { name: 'What it would change' });
  await expect(preview.getByRole('status')).toContainText(/[1-9]\d* would come out otherwise/);
  await expect(preview.getByRole('list', { name: 'Outcomes' })).toContainText('Allowed');
  await accessible(page);
  expect((await call(request, 'GET', '/v1/alerts')).items).toEqual([]);
  await expect(raise.getByLabel('Id')).toHaveValue(/^alert-\d{8}-[0-9a-z]{8,14}$/);
  await raise.getByLabel('Id').fill('alert-spec');
  await raise.getByLabel('Purpose').fill('no-such-purpose');
  await expect(preview.getByRole('status')).toContainText('0 agents in scope');
  await raise.getByLabel('Why').fill('test');
  await raise.getByRole('button', { name: 'Arm' }).click();
  await expect(page.getByRole('row', { name: /ransomware/ })).toContainText('purpose no-such-purpose');

  const [armed] = (await call(request, 'GET', '/v1/alerts')).items;
  await page.getByRole('button', { name: 'Change…' }).click();
  const change = page.getByRole('dialog', { name: 'Change alert-spec' });
  await expect(change.getByLabel('Hours until it ends')).toHaveValue('4');
  await change.getByLabel('Why').fill('test');
  await change.getByRole('button', { name: 'Change' }).click();
  await expect(change).toHaveCount(0);
  expect((await call(request, 'GET', '/v1/alerts')).items).toMatchObject([{ id: 'alert-spec', expires_at: armed.expires_at }]);

  await page.getByRole('button', { name: 'Clear…' }).click();
  const clear = page.getByRole('dialog', { name: 'Clear alert-spec' });
  await expect(clear.getByRole('status')).toContainText('would come out otherwise');
  await clear.getByLabel('Why').fill('over');
  await clear.getByRole('button', { name: 'Clear' }).click();
  await expect(page.getByText('No alert is open')).toBeVisible();
});

test('the kill switch is confirmed by hand, and lifted', async ({ page, request }) => {
  const may = async () => (await call(request, 'POST', '/access/v1/evaluation', {
    subject: { type: 'agent', id: agent }, action: { name: 'get_balance' }, resource: { type: 'Account', id: 'own' },
    context: { on_behalf_of: [{ type: 'user', id: 'emma' }], observed: { ip: '10.20.0.7' } },
  }, pepToken)).context;
  await asToken(page);
  await page.goto('incidents?tab=stops');
  await page.getByRole('button', { name: 'Stop…' }).first().click();
  const stop = page.getByRole('dialog', { name: 'Stop' });
  await stop.getByText('A purpose').click();
  await stop.getByLabel('Which purpose').fill('household-banking');
  await expect(stop.getByRole('status')).toContainText('would come out otherwise');
  await stop.getByLabel('Why').fill('incident 7');
  const now = stop.getByRole('button', { name: 'Stop now' });
  await expect(now).toBeDisabled();
  await stop.getByLabel(/^Type/).fill('household-banking');
  await accessible(page);
  await now.click();
  const standing = page.getByRole('region', { name: 'What is stopped' });
  await expect(standing).toContainText('purpose household-banking');
  await inBothThemes(page, () => accessible(page));
  expect((await may()).code).toBe('emergency_stop');

  await standing.getByRole('button', { name: 'Lift…' }).click();
  const lift = page.getByRole('dialog', { name: /^Lift stop-/ });
  const typed = lift.getByLabel(/^Type/);
  const id = (await lift.getByRole('heading', { level: 2 }).innerText()).replace('Lift ', '');
  await lift.getByLabel('Why').fill('over');
  await typed.fill(id);
  await lift.getByRole('button', { name: 'Lift' }).click();
  await expect(standing).toHaveCount(0);
  expect((await may()).code).not.toBe('emergency_stop');
});

test('a dialog stays while its act is under way', async ({ page, request }) => {
  await call(request, 'PUT', '/v1/alerts/held', { kind: 'held', severity: 'low', scope: { purpose: 'no-such-purpose' }, expires_at: new Date(Date.now() + 3_600_000).toISOString(), why: 'test' });
  await asToken(page);
  let answer = () => {};
  const answered = new Promise<void>((done) => (answer = done));
  await page.route('**/v1/alerts/held/clear', async (route) => (await answered, route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'not now' } } })));
  await page.goto('incidents');
  await page.getByRole('row', { name: /held/ }).getByRole('button', { name: 'Clear…' }).click();
  const clear = page.getByRole('dialog', { name: 'Clear held' });
  await clear.getByLabel('Why').fill('over');
  await clear.getByRole('button', { name: 'Clear' }).click();
  await expect(clear.getByRole('button', { name: 'Cancel' })).toBeDisabled();
  await expect(clear.getByRole('button', { name: 'Close' })).toBeDisabled();
  for (let i = 0; i < 3; i++) await page.keyboard.press('Escape');
  await page.mouse.click(5, 5);
  await expect(clear).toBeVisible();
  answer();
  await expect(clear.getByRole('alert')).toContainText('not now');
  await page.keyboard.press('Escape');
  await expect(clear).toHaveCount(0);
  await call(request, 'POST', '/v1/alerts/held/clear', { why: 'test' });
});

test('what is stopped is not known while it cannot be asked', async ({ page, request }) => {
  await call(request, 'PUT', '/v1/stops/unseen', { scope: { purpose: 'no-such-purpose' }, why: 'test' });
  await asToken(page);
  await page.route('**/v1/stops**', (route) => route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'not now' } } }));
  await page.goto('incidents?tab=stops');
  const stopped = page.getByRole('region', { name: 'What is stopped' });
  await expect(stopped).toContainText('It is not known what is stopped now');
  await expect(page.getByText('This could not be loaded')).toBeVisible();
  await expect(page.getByText('Nothing was stopped before')).toHaveCount(0);
  await inBothThemes(page, () => accessible(page));
  await page.unroute('**/v1/stops**');
  await stopped.getByRole('button', { name: 'Try again' }).click();
  await expect(stopped).toContainText('purpose no-such-purpose');
  await expect(stopped).not.toContainText('not known');

  // What was known is told, and that it may be over.
  await page.route('**/v1/stops**', (route) => route.abort());
  await expect(stopped).toContainText('It is not known what is stopped now');
  await expect(stopped).toContainText('purpose no-such-purpose');
  await call(request, 'POST', '/v1/stops/unseen/lift', { why: 'test' });
});

test('who is away says why, and why they are back', async ({ page, request }) => {
  await signIn(page, request);
  const { items } = await call(request, 'GET', '/v1/people');
  if (!items.some((p: any) => p.id === 'otto')) await call(request, 'PUT', '/v1/people/otto', { name: 'Otto', roles: ['approver'], why: 'test' });
  await page.getByRole('button', { name: 'Away…' }).click();
  const away = page.getByRole('dialog', { name: 'Away', exact: true });
  await away.getByLabel('Who answers instead').fill('otto');
  await away.getByLabel('Until').fill(new Date(Date.now() + 86_400_000).toISOString().slice(0, 16));
  await away.getByLabel('Why').fill('  ');
  await expect(away.getByRole('button', { name: 'Name a deputy' })).toBeDisabled();
  await away.getByLabel('Why').fill(hostile);
  await away.getByRole('button', { name: 'Name a deputy' }).click();
  await expect(away.getByRole('listitem')).toContainText('otto answers for emma');
  await expect(away.getByRole('listitem')).toContainText(hostile);
  await accessible(page);
  await away.getByRole('button', { name: 'Back…' }).click();
  const back = page.getByRole('dialog', { name: 'emma is back' });
  await back.getByLabel('Why').fill('the journey was called off');
  await accessible(page);
  await back.getByRole('button', { name: 'Back', exact: true }).click();
  await expect(away.getByText('Nobody is away.')).toBeVisible();
  const [put] = (await call(request, 'GET', '/v1/audit/entries?kind=away.put&limit=1')).items;
  expect(put.body).toMatchObject({ person: 'emma', why: 'the journey was called off' });
});
