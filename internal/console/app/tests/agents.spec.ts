import { accessible, asToken, call, expect, inBothThemes, pepToken, test } from './harness';

const hostile = '"><img src=x onerror="document.title=1">{{7*7}}</script>';

/** register makes an agent of this test alone, with a past: a session with what was allowed, refused, and reported. */
async function register(request: any, id: string) {
  const asked = (action: string, resource: object, args: object, session: string) =>
    call(request, 'POST', '/access/v1/evaluation', {
      subject: { type: 'agent', id }, action: { name: action, properties: args }, resource,
      context: { observed: { session, task: 'errands', provenance: { untrusted: ['recipient'], prompt: ['amount'] }, on_behalf_of: undefined } },
    }, pepToken);
  await call(request, 'PUT', `/v1/agents/${id}`, {
    owner: `shop ${hostile}`, purpose: 'household-banking', version: '7', creator: 'admin', capabilities: ['see-accounts', 'make-payments', 'read-files'], labels: { team: hostile }, if_revision: 0, why: hostile,
  });
  for (let i = 0; i < 11; i++) await asked('get_balance', { type: 'Account', id: 'own' }, {}, `${id}-1`);
  const paid = await asked('send_money', { type: 'Account', id: 'own' }, { amount: 20, recipient: hostile, subject: hostile, date: '2026-11-27' }, `${id}-1`);
  await call(request, 'POST', `/v1/decisions/${paid.context.evaluation_id}/outcome`, { result: 'wrong', why: hostile });
  return asked;
}

test('find an agent, read it, suspend it, see it refused, restore it', async ({ page, request }) => {
  const id = 'spec-shopper';
  const asked = await register(request, id);
  await asToken(page);
  await page.goto('agents');
  await expect(page.getByRole('heading', { level: 1, name: 'Agents' })).toBeVisible();
  await expect(page.getByRole('table', { name: 'Agents' }).getByRole('row')).not.toHaveCount(1);
  await inBothThemes(page, () => accessible(page));

  await page.keyboard.press('/');
  await page.keyboard.type('spec-shop');
  await expect(page.getByRole('table', { name: 'Agents' }).getByRole('row')).toHaveCount(2);
  await expect(page).toHaveURL(/text=spec-shop/);
  await page.getByRole('table', { name: 'Agents' }).getByRole('row').nth(1).focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: id })).toBeVisible();
  await expect(page.getByText('team')).toBeVisible();
  await expect(page.getByText('Lowest trust')).toBeVisible();
  await expect(page.getByRole('link', { name: /spec-shopper-1.*12 calls/ })).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  // A dialog that says what it does, and wants a reason.
  await page.getByRole('button', { name: 'Suspend…' }).click();
  const dialog = page.getByRole('dialog', { name: `Suspend ${id}?` });
  await expect(dialog.getByText('agent_inactive')).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Suspend', exact: true })).toBeDisabled();
  await dialog.getByLabel('Why').fill(`odd ${hostile}`);
  await accessible(page);
  await dialog.getByRole('button', { name: 'Suspend', exact: true }).click();
  await expect(page.getByText(`Suspended ${id}.`)).toBeVisible();
  await expect(page.getByText('every request of the agent is refused')).toBeVisible();
  const refused = await asked('get_balance', { type: 'Account', id: 'own' }, {}, `${id}-2`);
  expect(refused.decision).toBe(false);
  expect(refused.context.code).toBe('agent_inactive');
  // Sessions are told from the log, after the answer.
  await expect.poll(async () => (await call(request, 'GET', `/v1/agents/${id}/sessions`)).items.length).toBe(2);

  // The refusal is seen in the session.
  await page.getByRole('tab', { name: 'Sessions' }).click();
  await page.getByRole('link', { name: /spec-shopper-2/ }).click();
  await expect(page.getByText('Denied').first()).toBeVisible();
  await accessible(page);
  await page.goBack();

  await page.getByRole('button', { name: 'Restore…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Looked into, and all is well' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restore', exact: true }).click();
  await expect(page.getByText(`Restored ${id}.`)).toBeVisible();
  await expect(page.getByRole('button', { name: 'Suspend…' })).toBeVisible();
  expect((await asked('get_balance', { type: 'Account', id: 'own' }, {}, `${id}-3`)).decision).toBe(true);

  await page.getByRole('tab', { name: 'Changes' }).click();
  await expect(page.getByText('Suspended → active')).toBeVisible();
  await expect(page.getByText('Active → suspended')).toBeVisible();
  await accessible(page);
});

test('a filter that could not be asked for shows nothing of the one before', async ({ page, request }) => {
  for (const id of ['spec-filtered-a', 'spec-filtered-b']) await register(request, id);
  await asToken(page);
  await page.goto('agents?text=spec-filtered');
  const rows = page.getByRole('table', { name: 'Agents' }).getByRole('row');
  await expect(rows).toHaveCount(3);
  await page.route('**/v1/fleet?*', (route) => route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'not now' } } }));
  await page.getByRole('searchbox', { name: 'Search agents' }).fill('spec-filtered-b');
  await expect(page.getByRole('alert')).toHaveText('not now');
  await expect(page.getByText('spec-filtered-a')).toHaveCount(0);
  await page.unroute('**/v1/fleet?*');
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(rows).toHaveCount(2);
});

test('what an agent does not use is offered to be taken away', async ({ page, request }) => {
  const id = 'spec-idler';
  await register(request, id);
  await asToken(page);
  await page.goto(`agents/${id}?tab=capabilities`);
  await expect(page.getByText('read-files').first()).toBeVisible();
  await expect(page.getByText('1 capability could be taken away.')).toBeVisible();
  await inBothThemes(page, () => accessible(page));
  await page.getByRole('button', { name: 'Take it away…' }).click();
  const dialog = page.getByRole('dialog', { name: `Capabilities of ${id}` });
  await expect(dialog.getByLabel('read-files')).not.toBeChecked();
  await dialog.getByRole('button', { name: 'Not used' }).click();
  await dialog.getByRole('button', { name: 'Change', exact: true }).click();
  await expect(page.getByText('could be taken away')).toBeHidden();
  expect((await call(request, 'GET', `/v1/agents/${id}`)).capabilities).toEqual(['make-payments', 'see-accounts']);
});

test('what somebody else changed meanwhile is not undone', async ({ page, request }) => {
  const id = 'spec-raced';
  await register(request, id);
  await asToken(page);
  await page.goto(`agents/${id}`);
  await page.getByRole('button', { name: 'Capabilities…' }).click();
  const dialog = page.getByRole('dialog', { name: `Capabilities of ${id}` });
  await dialog.getByLabel('read-files').uncheck();
  const { owner, purpose, version, creator, labels, revision } = await call(request, 'GET', `/v1/agents/${id}`);
  const changed = page.waitForResponse(async (r) => r.url().endsWith(`/v1/agents/${id}`) && (await r.json()).revision === revision + 1);
  await call(request, 'PUT', `/v1/agents/${id}`, { owner, purpose, version, creator, labels, capabilities: ['see-accounts', 'read-files'], if_revision: revision, why: 'test' });
  await changed;
  await expect(dialog.getByLabel('make-payments')).toBeChecked();
  await dialog.getByRole('button', { name: 'Not used' }).click();
  await dialog.getByRole('button', { name: 'Change', exact: true }).click();
  await expect(dialog.getByRole('alert')).toContainText(`revision ${revision + 1}`);
  expect((await call(request, 'GET', `/v1/agents/${id}`)).capabilities).toEqual(['read-files', 'see-accounts']);
});

test('trust over time, its events, and a level set by hand', async ({ page, request }) => {
  const id = 'spec-fallen';
  await register(request, id);
  await asToken(page);
  await page.goto(`agents/${id}?tab=trust`);
  await expect(page.getByRole('img', { name: /Trust in Money now/ })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Reported wrong in money' })).toBeVisible();
  await inBothThemes(page, () => accessible(page));
  await page.getByRole('button', { name: 'Trust…' }).click();
  const dialog = page.getByRole('dialog', { name: `Trust in ${id}` });
  await dialog.getByLabel('What').selectOption('set');
  await dialog.getByLabel('Level').selectOption('low');
  await dialog.getByLabel('Why').fill('a drill');
  await dialog.getByRole('button', { name: 'Set', exact: true }).click();
  await expect.poll(async () => (await call(request, 'GET', `/v1/agents/${id}/trust`)).classes[0].level).toBe('low');
});

test('what could not be asked of an agent is not said to be nothing', async ({ page, request }) => {
  const id = 'spec-unheard';
  await register(request, id);
  await asToken(page);
  await page.goto(`agents/${id}`);
  const stat = (label: string) => page.getByRole('link', { name: new RegExp(`^${label}`) });
  await expect(stat('Decisions, 7 days')).toContainText(/12.*refused, last/);
  await expect(stat('Active keys')).toContainText(/0.*it cannot get passports/);
  await page.route(/\/v1\/(fleet|agents\/spec-unheard\/(trust|use|keys))\b/, (route) => route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'not now' } } }));
  await page.reload();
  for (const label of ['Lowest trust', 'Open findings', 'Decisions, 7 days', 'Capabilities unused', 'Active keys']) await expect(stat(label)).toContainText(/–.*not now/);
  await expect(page.getByText('Whether it is shut by its conduct is not known.')).toBeVisible();
  await page.getByRole('tab', { name: 'Trust' }).click();
  await expect(page.getByText('What moved it is not known')).toBeVisible();
  await expect(page.getByText('Nothing moved it')).toHaveCount(0);
});

test('a session tells each call with what came from where', async ({ page, request }) => {
  const id = 'spec-teller';
  await register(request, id);
  await asToken(page);
  await page.goto(`sessions/${id}-1`);
  await expect(page.getByRole('heading', { level: 1, name: 'errands' })).toBeVisible();
  await expect(page.getByText('Untrusted content').first()).toBeVisible();
  await expect(page.getByText(/Wrong$/).first()).toBeVisible();
  await expect(page.getByText(hostile).first()).toBeVisible(); // as text
  expect(await page.title()).not.toBe('1');
  await inBothThemes(page, () => accessible(page));
  await page.goto('sessions/there-is-none');
  await expect(page.getByText('This session is not known')).toBeVisible();
});

test('keys are rotated: revoked, and enrolled anew', async ({ page, request }) => {
  const id = 'spec-keys';
  await register(request, id);
  await asToken(page);
  // While keys are not known, none is spared.
  let known = () => {};
  const held = new Promise<void>((done) => (known = done));
  await page.route(`**/v1/agents/${id}/keys`, async (route) => (await held, route.continue()));
  await page.goto(`agents/${id}?tab=keys`);
  await page.getByRole('button', { name: 'Rotate keys…' }).first().click();
  const early = page.getByRole('dialog', { name: `Rotate the keys of ${id}` });
  await early.getByLabel('Why').fill('first key');
  await expect(early.getByLabel('Revoke all active keys now')).toBeChecked();
  await expect(early.getByRole('button', { name: 'Rotate', exact: true })).toBeDisabled();
  known();
  await expect(early.getByLabel('Revoke 0 active keys now')).not.toBeChecked();
  await expect(early.getByRole('button', { name: 'Rotate', exact: true })).toBeEnabled();
  await page.keyboard.press('Escape');
  await expect(page.getByText('It has no key')).toBeVisible();
  await accessible(page);
  await page.getByRole('button', { name: 'Rotate keys…' }).click();
  const dialog = page.getByRole('dialog', { name: `Rotate the keys of ${id}` });
  await dialog.getByLabel('Why').fill('first key');
  await dialog.getByRole('button', { name: 'Rotate', exact: true }).click();
  await expect(page.getByRole('dialog', { name: 'Enrolment token' })).toBeVisible();
  await page.getByRole('button', { name: 'I have it' }).click();
  await expect(page.getByText('An enrolment token was made')).toBeVisible();
  await page.getByRole('tab', { name: 'Delegation' }).click();
  await expect(page.getByText('It acted for nobody')).toBeVisible();
  await accessible(page);
});

test('agents on a narrow window', async ({ page, request }) => {
  const id = 'spec-narrow';
  await register(request, id);
  await page.setViewportSize({ width: 390, height: 844 });
  await asToken(page);
  for (const path of ['agents', `agents/${id}`, `agents/${id}?tab=capabilities`, `agents/${id}?tab=trust`, `agents/${id}?tab=sessions`, `sessions/${id}-1`]) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await page.waitForTimeout(500);
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
  }
});
