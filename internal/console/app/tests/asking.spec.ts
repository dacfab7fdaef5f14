import type { APIRequestContext, Page } from '@playwright/test';
import { accessible, call, expect, pepToken, signInByLink, test } from './harness';

const agent = 'banking.claude-3-5-sonnet-20241022';

/** act is a payment that a person must approve. */
const act = (amount: number, approval?: unknown) => ({
  subject: { type: 'agent', id: agent },
  action: { name: 'send_money', properties: { recipient: 'DE02120300000000202051', amount, subject: 'Bill', date: '2026-11-30' } },
  resource: { type: 'Account', id: 'own' },
  context: { on_behalf_of: [{ type: 'user', id: 'emma' }], observed: { ip: '10.20.0.7', provenance: { untrusted: ['recipient'] } }, ...(approval ? { approval } : {}) },
});

const decide = (request: APIRequestContext, amount: number, approval?: unknown) => call(request, 'POST', '/access/v1/evaluation', act(amount, approval), pepToken);

/** ask asks for payments of these amounts, in one ask, and returns its id. */
async function ask(request: APIRequestContext, ...amounts: number[]): Promise<string> {
  const items = [];
  for (const amount of amounts) {
    const { action, resource } = act(amount);
    const { evaluation_id, access_request } = (await decide(request, amount)).context;
    items.push({ action, resource, denial: { evaluation_id, expires_at: access_request.expires_at, binding_token: access_request.binding_token } });
  }
  const { subject, context } = act(0);
  const whole = { subject, context: { ...context, business_justification: 'the rent is due' } };
  const { task } = await call(request, 'POST', '/access/v1/requests', items.length > 1 ? { ...whole, items } : { ...whole, ...items[0] }, pepToken);
  return task.id;
}

/** approval is what an enforcement point gets for one act of an ask. */
const approval = async (request: APIRequestContext, id: string, item?: number) => {
  const answer = await call(request, 'GET', `/access/v1/requests/${id}`, undefined, pepToken);
  return (item === undefined ? answer : answer.task.items[item]).result.approval;
};

/** routed has asks go by these rules, while f runs: anna answers, bert may break the glass. */
async function routed(request: APIRequestContext, rules: string, f: () => Promise<void>): Promise<void> {
  const active = await call(request, 'GET', '/v1/policies/active');
  const catalog = (active.catalog as string)
    .replace(/\napprovers:\n/, '\napprovers:\n  spec-answers: {members: [{type: user, id: anna}, {type: user, id: carl}]}\n  spec-guards: {members: [{type: user, id: bert}]}\n')
    .replace(/\n  asks: .*\n/, '\n  asks: {session: 0, hour: 0, pending: 0}\n')
    .replace(/\n    account-holder: .*\n/, `\n    account-holder: {title: Somebody answers, approvers: [spec-answers], pending: 30m, lasts: 15m${rules}}\n`);
  expect(catalog).toContain('spec-answers]');
  await call(request, 'POST', '/v1/policies', { catalog, if_version: active.version, why: 'test' });
  try {
    await f();
  } finally {
    await call(request, 'POST', `/v1/policies/${active.version}/rollback`, { why: 'the test is over' });
  }
}

/** signIn makes somebody known who answers, and signs them in. */
async function signIn(page: Page, person: string): Promise<void> {
  const { items } = await call(page.request, 'GET', '/v1/people');
  if (!items.some((p: { id: string }) => p.id === person)) await call(page.request, 'PUT', `/v1/people/${person}`, { name: person, roles: ['approver'], why: 'test' });
  await signInByLink(page, person);
}

/** open signs somebody in who looks at an ask, and waits until that is recorded. */
async function open(page: Page, person: string, id: string): Promise<void> {
  await signIn(page, person);
  const seen = page.waitForResponse((r) => r.url().endsWith(`/v1/approvals/${id}/view`) && r.ok());
  await page.goto(`approvals/${id}`);
  await seen;
}

const answers = (page: Page) => page.getByRole('region', { name: 'Your answer' });

test('the glass is broken by one, and reviewed by another', async ({ page, request, browser }) => {
  await routed(request, ', break_glass: [spec-guards], review: 1h', async () => {
    const id = await ask(request, 81.5);
    await open(page, 'bert', id);
    await expect(answers(page).getByRole('button', { name: /^(Approve|Refuse)/ })).toHaveCount(0); // it is not for bert to answer
    await answers(page).getByRole('button', { name: 'Break the glass…' }).click();
    await expect(answers(page)).toContainText('You approve alone and at once, one use of the very act.');
    const now = answers(page).getByRole('button', { name: 'Break the glass', exact: true });
    await expect(now).toBeDisabled();
    await answers(page).getByLabel('Why it cannot wait').fill('the house is on fire <b>');
    await accessible(page);
    await now.click();
    await expect(page.getByText('You broke the glass. Somebody else reviews it.')).toBeVisible();
    await expect(page.getByRole('article')).toContainText('bert broke the glass');
    await expect(page.getByRole('article')).toContainText('the house is on fire <b>');
    await expect(answers(page)).toHaveCount(0); // nor to review it
    await accessible(page);
    expect((await call(request, 'GET', `/v1/approvals/${id}`)).broken_glass.verdict ?? '').toBe('');
    const granted = await approval(request, id);
    expect((await decide(request, 81.5, granted)).decision).toBe(true);
    expect((await decide(request, 81.5, granted)).decision).toBe(false); // one use

    const other = await (await browser.newContext()).newPage();
    await signIn(other, 'anna');
    await other.getByRole('combobox', { name: 'Show' }).selectOption('review');
    await other.locator(`[data-ask="${id}"]`).click();
    await answers(other).getByRole('button', { name: 'Review…' }).click();
    await expect(answers(other).getByRole('button', { name: 'It was justified' })).toBeDisabled();
    await answers(other).getByLabel('What you found').fill('there was a fire');
    await accessible(other);
    await answers(other).getByRole('button', { name: 'It was justified' }).click();
    await expect(other.getByText('Your review is recorded.')).toBeVisible();
    await expect(other.getByRole('article')).toContainText('anna found it justified: there was a fire');
    await expect(other.getByRole('region', { name: 'Answers' })).not.toContainText('person:');
    await expect(answers(other)).toHaveCount(0);
    await other.getByRole('combobox', { name: 'Show' }).selectOption('review');
    await expect(other.locator(`[data-ask="${id}"]`)).toHaveCount(0);
    await other.context().close();
  });
});

test('glass that was broken without need is taken back', async ({ page, request, browser }) => {
  await routed(request, ', break_glass: [spec-guards], review: 1h', async () => {
    const id = await ask(request, 82.5);
    await open(page, 'bert', id);
    await answers(page).getByRole('button', { name: 'Break the glass…' }).click();
    await answers(page).getByLabel('Why it cannot wait').fill('it is quicker');
    await answers(page).getByRole('button', { name: 'Break the glass', exact: true }).click();
    await expect(page.getByRole('article')).toContainText('bert broke the glass');

    const other = await (await browser.newContext()).newPage();
    await signIn(other, 'anna');
    await other.goto(`approvals/${id}`);
    await answers(other).getByRole('button', { name: 'Review…' }).click();
    await answers(other).getByLabel('What you found').fill('there was none');
    await answers(other).getByRole('button', { name: 'It was not' }).click();
    await expect(other.getByRole('article')).toContainText('anna found it unjustified: there was none');
    await expect(other.getByRole('article')).toContainText('Taken back');
    expect((await decide(request, 82.5, await approval(request, id))).decision).toBe(false);
    await other.context().close();
  });
});

test('a deputy answers while somebody is away', async ({ page, request, browser }) => {
  test.setTimeout(90_000); // lists are asked for every five seconds
  await routed(request, '', async () => {
    const id = await ask(request, 83.5);
    const other = await (await browser.newContext()).newPage();
    await signIn(other, 'dora');
    await open(page, 'anna', id);
    await page.getByRole('button', { name: 'Away…' }).click();
    const away = page.getByRole('dialog', { name: 'Away' });
    await away.getByLabel('Who answers instead').fill('dora');
    await away.getByLabel('Until').fill(new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, 16));
    await away.getByLabel('Why').fill('on a journey');
    await away.getByRole('button', { name: 'Name a deputy' }).click();
    await expect(away.getByText('dora answers for anna until')).toBeVisible();
    await accessible(page);

    const seen = other.waitForResponse((r) => r.url().endsWith(`/v1/approvals/${id}/view`) && r.ok());
    await expect(other.locator(`[data-ask="${id}"]`)).toBeVisible(); // it waits for dora now
    await expect(other.getByText('You stand in for anna.')).toBeVisible();
    await seen;
    await other.keyboard.press('y');
    await answers(other).getByLabel('Comment').fill('for anna');
    await accessible(other);
    await answers(other).getByRole('button', { name: 'Approve', exact: true }).click();
    await expect(other.getByText('Your yes is recorded.')).toBeVisible();
    await other.goto(`approvals/${id}`);
    await expect(other.getByRole('article')).toContainText('dora for anna said yes');
    await expect(other.getByRole('region', { name: 'Answers' })).not.toContainText('person:');
    expect((await call(request, 'GET', `/v1/approvals/${id}`)).answers).toMatchObject([{ by: 'person:dora', for: 'anna', yes: true }]);

    // Once anna is back, dora answers nothing any more.
    await other.goto('approvals');
    const later = await ask(request, 84.5);
    await expect(other.locator(`[data-ask="${later}"]`)).toBeVisible();
    await call(request, 'PUT', '/v1/approvals/away', { person: 'anna', why: 'back' });
    await expect(other.locator(`[data-ask="${later}"]`)).toHaveCount(0);
    await call(request, 'POST', `/v1/approvals/${later}/cancel`, { why: 'test' });
    await other.context().close();
  });
});

test('a yes goes as far as is chosen, and no further than the route', async ({ page, request }) => {
  await routed(request, ', uses: 5, amounts: {amount: "500"}', async () => {
    const id = await ask(request, 85.5);
    await open(page, 'anna', id);
    await page.keyboard.press('y');
    await expect(answers(page).getByRole('radio', { name: /Once, this very act/ })).toBeChecked();
    await answers(page).getByRole('radio', { name: /The same again, up to an amount/ }).check();
    const amount = answers(page).getByLabel('amount, at most 500');
    const times = answers(page).getByLabel('Times, at most 5');
    await expect(amount).toHaveValue('500');
    await expect(times).toHaveValue('5');
    await times.fill('2');
    await accessible(page);

    // More than the route permits is refused, and what was filled in stays.
    await amount.fill('600');
    await answers(page).getByRole('button', { name: 'Approve', exact: true }).click();
    await expect(answers(page).getByRole('alert')).toBeVisible();
    await expect(times).toHaveValue('2');
    expect((await call(request, 'GET', `/v1/approvals/${id}`)).status).toBe('pending');

    await amount.fill('200');
    await answers(page).getByRole('button', { name: 'Approve', exact: true }).click();
    await expect(page.getByText('Your yes is recorded.')).toBeVisible();
    await expect(page.getByRole('article')).toContainText('2 times, amount up to 200');
    const granted = await approval(request, id);
    expect((await decide(request, 250, granted)).decision).toBe(false);
    expect((await decide(request, 150, granted)).decision).toBe(true);
    expect((await decide(request, 199, granted)).decision).toBe(true);
    expect((await decide(request, 150, granted)).decision).toBe(false);
    await page.reload();
    await expect(page.getByRole('article')).toContainText('used 2 times');
  });
});

test('of several acts some are approved, and others refused', async ({ page, request }) => {
  await routed(request, '', async () => {
    const id = await ask(request, 86.5, 87.5, 88.5);
    await open(page, 'anna', id);
    for (const [i, amount] of [86.5, 87.5, 88.5].entries()) await expect(page.getByRole('region', { name: `${i + 1}. send_money` })).toContainText(String(amount));
    await page.keyboard.press('y');
    await expect(answers(page).getByText('Each act once, as asked')).toBeVisible();
    const acts = answers(page).getByRole('group', { name: 'For which acts' }).getByRole('checkbox');
    await expect(acts).toHaveCount(3);
    for (let i = 0; i < 3; i++) await acts.nth(i).uncheck();
    await expect(answers(page).getByRole('button', { name: 'Approve', exact: true })).toBeDisabled();
    await acts.nth(0).check();
    await acts.nth(2).check();
    await accessible(page);
    await answers(page).getByRole('button', { name: 'Approve', exact: true }).click();
    await expect(page.getByText('Your yes is recorded.')).toBeVisible();
    await expect(page.getByRole('region', { name: '1. send_money' })).toContainText('Approved');
    await expect(page.getByRole('region', { name: '2. send_money' })).not.toContainText('Approved');
    expect((await call(request, 'GET', `/v1/approvals/${id}`)).items.map((i: any) => i.status)).toEqual(['approved', 'pending', 'approved']);

    await page.keyboard.press('n');
    await answers(page).getByLabel('Comment').fill('not this one');
    await page.keyboard.press('Enter');
    await expect(page.getByText('Refused.', { exact: true })).toBeVisible();
    await expect(page.getByRole('article').getByText('Partly approved')).toBeVisible();
    await accessible(page);
    expect((await call(request, 'GET', `/v1/approvals/${id}`)).items.map((i: any) => i.status)).toEqual(['approved', 'denied', 'approved']);
    expect((await decide(request, 86.5, await approval(request, id, 0))).decision).toBe(true);
    expect((await decide(request, 88.5, await approval(request, id, 2))).decision).toBe(true);
    expect((await decide(request, 87.5)).decision).toBe(false);
  });
});
