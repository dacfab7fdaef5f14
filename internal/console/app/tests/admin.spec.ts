import type { APIRequestContext, CDPSession, Page } from '@playwright/test';
import { accessible, asToken, call, expect, inBothThemes, signInByLink, test, url } from './harness';

const hostile = '<img src=x onerror="document.title=\'owned\'">';

/** person makes somebody, anew if there is one. */
async function person(request: APIRequestContext, id: string, roles: string[], name = `Name of ${id}`): Promise<void> {
  await call(request, 'PUT', `/v1/people/${id}`, { name, roles, if_as_of: 0, why: 'test' });
}

/** withKey gives the page a virtual authenticator. */
async function withKey(page: Page): Promise<CDPSession> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return cdp;
}

test('a person registers a passkey, signs in with it, comes back to where they were, and signs out', async ({ page, request }) => {
  await person(request, 'keyholder', ['viewer', 'approver']);
  await withKey(page);
  const link = await call(request, 'POST', '/v1/people/keyholder/enrolment', { why: 'test' });
  await page.goto(link.url);
  await page.getByRole('button', { name: 'Make a passkey' }).click();
  await expect(page.getByRole('status')).toContainText('was made for');
  await accessible(page);

  await page.goto('sessions/errands%20of%20%C3%BC?agent=a/b');
  await expect(page).toHaveURL(/\/sign-in\?return=/);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await expect(page).toHaveURL(/\/console\/sessions\/errands%20of%20%C3%BC\?agent=a\/b$/);

  const cookies = await page.context().cookies();
  const session = cookies.find((c) => c.name.endsWith('safeconduct'));
  expect(session?.httpOnly).toBe(true);
  expect(session?.sameSite).toBe('Strict');

  await page.getByRole('button', { name: 'Name of keyholder' }).click();
  await expect(page.getByText('signed in with a passkey')).toBeVisible();
  // Who could not be signed out is told so, and still is.
  for (const fail of ['refused', 'away']) {
    await page.route('**/sign-out', (route) => (fail === 'away' ? route.abort() : route.fulfill({ status: 503, body: '' })));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expect(page.getByRole('alert')).toContainText(fail === 'away' ? 'You are still signed in. The service cannot be reached.' : 'You are still signed in. The service answered 503');
    await accessible(page);
    await page.unroute('**/sign-out');
  }
  expect((await page.request.get(`${url}/v1/me`)).status()).toBe(200);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in$/);
  // The old cookie is worth nothing, also where it was kept.
  await page.context().addCookies([session!]);
  expect((await page.request.get(`${url}/v1/me`)).status()).toBe(401);
});

test('a link signs in once', async ({ page, request, browser }) => {
  await person(request, 'linked', ['viewer']);
  const link = await call(request, 'POST', '/v1/people/linked/link', { why: 'test' });
  await page.goto(link.url);
  await inBothThemes(page, () => accessible(page));
  await page.goto(link.url); // looking uses nothing up
  await page.getByRole('button', { name: 'Sign in as Name of linked (linked)' }).click();
  await expect(page).toHaveURL(/\/console\/$/);
  const other = await browser.newContext();
  const second = await other.newPage();
  await second.goto(link.url);
  await expect(second.getByRole('alert')).toContainText('unknown, used or expired');
  await other.close();
});

test('a viewer is offered nothing that the API would refuse, and the API refuses it', async ({ page, request }) => {
  await person(request, 'watcher', ['viewer']);
  await signInByLink(page, 'watcher');
  const main = page.getByRole('navigation', { name: 'Main' });
  await expect(main.getByRole('link', { name: 'Agents' })).toBeVisible();
  for (const hidden of ['Administration', 'Audit log', 'Approvals']) await expect(main.getByRole('link', { name: hidden })).toHaveCount(0);
  await page.goto('admin');
  await expect(page.getByRole('alert')).toContainText('the role viewer may not do this');
  await expect(page.getByRole('button', { name: 'Add a person' })).toHaveCount(0);

  const refused = await page.evaluate(async () => {
    const send = async (method: string, path: string, headers: Record<string, string>) =>
      (await fetch(path, { method, headers: { 'Content-Type': 'application/json', ...headers }, body: method === 'GET' ? undefined : JSON.stringify({ name: 'x', role: 'administrator', roles: ['administrator'], if_as_of: 0, state: 'suspended', why: 'x' }) })).status;
    const ours = { 'X-Safeconduct-Request': '1' };
    return [
      await send('POST', '/v1/callers', ours),
      await send('PUT', '/v1/people/watcher', ours),
      await send('POST', '/v1/agents/banking.gpt-4o-2024-05-13/state', ours),
      await send('GET', '/v1/people', {}),
      await send('GET', '/v1/audit/entries', {}),
    ];
  });
  expect(refused).toEqual([403, 403, 403, 403, 403]);
});

test('what changes something comes from our own pages', async ({ page, request }) => {
  await person(request, 'boss', ['administrator']);
  await signInByLink(page, 'boss');
  // A page of ours that does not say so.
  const bare = await page.evaluate(async () => (await fetch('/v1/people/new', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"name":"N","if_as_of":0,"why":"x"}' })).status);
  expect(bare).toBe(403);
  // Another origin, with the cookie and all that a script can set.
  const cookie = (await page.context().cookies()).map((c) => `${c.name}=${c.value}`).join('; ');
  for (const headers of [{ Origin: 'https://evil.example' }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site', Origin: url }] as Record<string, string>[]) {
    const r = await request.fetch(`${url}/v1/people/new`, {
      method: 'PUT', headers: { Cookie: cookie, 'X-Safeconduct-Request': '1', 'Content-Type': 'application/json', ...headers }, data: { name: 'N', if_as_of: 0, why: 'x' },
    });
    expect(r.status()).toBe(403);
  }
  // Nobody makes more of themselves.
  const self = await page.evaluate(async () => {
    const send = async (method: string, path: string, body: object) =>
      (await fetch(path, { method, headers: { 'Content-Type': 'application/json', 'X-Safeconduct-Request': '1' }, body: JSON.stringify(body) })).status;
    const me = await (await fetch('/v1/people/boss')).json();
    return [await send('PUT', '/v1/people/boss', { name: 'Boss', roles: ['administrator', 'approver'], if_as_of: me.as_of, why: 'x' }), await send('POST', '/v1/people/boss/link', { why: 'x' })];
  });
  expect(self).toEqual([403, 403]);
});

test('people are added, given roles and a link, and disabled', async ({ page, request }) => {
  await person(request, 'chief', ['administrator']);
  await signInByLink(page, 'chief');
  await page.goto('admin');
  await page.getByRole('button', { name: 'Add a person' }).click();
  await page.getByLabel('Name', { exact: true }).fill(hostile);
  await page.getByLabel('Id', { exact: true }).fill('newcomer');
  await page.getByRole('checkbox', { name: /^Operator/ }).check();
  await page.getByLabel('Why', { exact: true }).fill('new in operations');
  await inBothThemes(page, () => accessible(page));
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(hostile);
  await expect(page).not.toHaveTitle('owned');
  await inBothThemes(page, () => accessible(page));

  await page.getByRole('button', { name: 'Change roles' }).click();
  await page.getByRole('checkbox', { name: /^Author/ }).check();
  await page.getByLabel('Why', { exact: true }).fill('writes policies, too');
  await page.getByRole('button', { name: 'Set roles' }).click();
  await expect(page.getByText('Operator, Author')).toBeVisible();

  await page.getByRole('button', { name: 'Sign-in link' }).click();
  await page.getByLabel('Why', { exact: true }).fill('first sign-in');
  await page.getByRole('button', { name: 'Make a link' }).click();
  await expect(page.getByText(/\/sign-in\/link\?token=sc_link_/)).toBeVisible();
  await accessible(page);
  await page.getByRole('button', { name: 'I have it' }).click();

  await page.getByRole('button', { name: 'Disable' }).click();
  await page.getByLabel('Why', { exact: true }).fill('left');
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
  await expect(page.locator('.badge', { hasText: 'Disabled' })).toBeVisible();
  expect((await call(request, 'GET', '/v1/people/newcomer')).disabled).toBe(true);

  await page.goto('admin/people/chief');
  await expect(page.getByText('This is you.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Change roles' })).toHaveCount(0);
});

test('tokens, keys and deliveries', async ({ page, request }) => {
  await asToken(page);
  await page.goto('admin?tab=tokens');
  await page.getByRole('button', { name: 'Make a token' }).click();
  await page.getByLabel('Name', { exact: true }).fill('gateway-9');
  await page.getByLabel('Why', { exact: true }).fill('new gateway');
  await page.getByRole('button', { name: 'Make', exact: true }).click();
  const token = page.getByText(/^sc_pep_/);
  await expect(token).toBeVisible();
  const text = (await token.textContent())!.trim();
  expect((await call(request, 'GET', '/v1/me', undefined, text)).actor).toBe('pep:gateway-9');
  await page.getByRole('button', { name: 'I have it' }).click();
  await inBothThemes(page, () => accessible(page));
  const row = page.getByRole('row', { name: /gateway-9/ });
  await row.getByRole('button', { name: 'Revoke' }).click();
  await page.getByLabel('Why', { exact: true }).fill('taken down');
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await expect(row).toContainText('Revoked');
  expect((await request.get(`${url}/v1/me`, { headers: { Authorization: `Bearer ${text}` } })).status()).toBe(401);

  for (const tab of ['keys', 'deliveries']) {
    await page.goto(`admin?tab=${tab}`);
    await expect(page.getByRole('tab', { selected: true })).toBeVisible();
    await page.waitForLoadState('networkidle');
    await inBothThemes(page, () => accessible(page));
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    await page.setViewportSize({ width: 1440, height: 900 });
  }
});

test('the end of a session is announced, and what is on the page stays', async ({ page, request }) => {
  await person(request, 'sleeper', ['viewer']);
  await signInByLink(page, 'sleeper');
  let left = 120_000;
  let away = false;
  await page.route('**/v1/me', async (route) => {
    if (away) return route.fulfill({ status: 503, body: '' });
    if (left <= 0) return route.fulfill({ status: 401, json: { error: { code: 'unauthenticated', message: 'the session has ended', request_id: 'x' } } });
    const r = await route.fetch();
    return route.fulfill({ response: r, json: { ...(await r.json()), idle_expires_at: new Date(Date.now() + left).toISOString() } });
  });
  await page.clock.install();
  await page.goto('agents');
  await expect(page.getByText('Nobody seems to be here')).toBeVisible();
  await accessible(page);
  away = true;
  await page.getByRole('button', { name: 'I am here' }).click();
  await expect(page.getByText('The service was not told that you are here. The service answered 503')).toBeVisible();
  await expect(page.getByText('Nobody seems to be here')).toBeVisible();
  away = false;
  left = 30 * 60_000;
  await page.getByRole('button', { name: 'I am here' }).click();
  await expect(page.getByText('Nobody seems to be here')).toHaveCount(0);
  left = 0;
  await page.clock.fastForward(31 * 60_000);
  await expect(page.getByText('Your session has ended.')).toBeVisible();
  await page.unroute('**/v1/me');
});
