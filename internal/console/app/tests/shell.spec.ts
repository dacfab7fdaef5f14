import { accessible, adminToken, asToken, expect, inBothThemes, test, url } from './harness';

test('the frame: navigation, palette, themes', async ({ page }) => {
  await asToken(page);
  await page.goto('');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await inBothThemes(page, () => accessible(page));

  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Agents' }).click();
  await expect(page).toHaveURL(/\/console\/agents$/);
  await expect(page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Agents' })).toHaveAttribute('aria-current', 'page');
  await page.goBack();
  await expect(page).toHaveURL(/\/console\/$/);

  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Go to' }).fill('policies');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/console\/policies$/);
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Go to' }).fill('checkp');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/console\/audit\/checkpoints$/);

});

test('an address that stands for nothing is not found', async ({ page }) => {
  await asToken(page);
  for (const path of ['nowhere/at/all', 'agents/%E0%A4', 'policies//diff/1']) {
    await page.goto(path);
    await expect(page.getByRole('heading', { name: 'Not found' }), path).toBeVisible();
  }
  await accessible(page);

  // That a page could not be loaded is not said of the page after it.
  let fail = () => {};
  const failed = new Promise<void>((done) => (fail = done));
  await page.route('**/assets/Report-*.js', async (route) => (await failed, route.abort()));
  const gone = page.waitForEvent('requestfailed', (r) => r.url().includes('/Report-'));
  const main = page.getByRole('navigation', { name: 'Main' });
  await main.getByRole('link', { name: 'Report' }).click();
  await main.getByRole('link', { name: 'Policies' }).click();
  await expect(page.getByRole('heading', { name: 'Policies', level: 1 })).toBeVisible();
  fail();
  await gone;
  await page.evaluate(() => new Promise((done) => setTimeout(done)));
  await expect(page.getByRole('heading', { name: 'Policies', level: 1 })).toBeVisible();
  await main.getByRole('link', { name: 'Report' }).click();
  await expect(page.getByRole('heading', { name: 'Not loaded' })).toBeVisible();
});

test('what is typed into a search is neither lost nor told elsewhere', async ({ page }) => {
  await page.clock.install();
  await asToken(page);
  await page.goto('agents');
  const field = page.getByRole('searchbox', { name: 'Search agents' });
  await field.pressSequentially('two ');
  await page.clock.fastForward(250);
  await expect(page).toHaveURL(/\?text=two$/);
  await field.pressSequentially('words');
  await expect(field).toHaveValue('two words');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\?text=two\+words$/);

  // What comes from elsewhere is newer than what waits.
  await field.pressSequentially('!');
  await page.evaluate(() => history.replaceState(null, '', '?text=other'));
  await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
  await expect(field).toHaveValue('other');
  await page.clock.fastForward(250);
  await expect(page).toHaveURL(/\?text=other$/);

  // What waits is not told to another page, also while that one is loaded.
  let load = () => {};
  const loaded = new Promise<void>((done) => (load = done));
  await page.route('**/assets/Report-*.js', async (route) => (await loaded, route.continue()));
  await field.pressSequentially('!');
  await page.evaluate(() => document.querySelector<HTMLElement>('nav a[href$="/report"]')!.click());
  await page.clock.fastForward(250);
  await expect(page).toHaveURL(/\/report$/);
  load();
  await expect(page.getByRole('heading', { name: /What agents did/, level: 1 })).toBeVisible();
  await expect(page).toHaveURL(/\/report$/);
});

test('a browser that keeps nothing shows the pages all the same', async ({ page }) => {
  await page.addInitScript(() => {
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, { get: () => { throw new DOMException('denied', 'SecurityError'); } });
    }
  });
  await asToken(page);
  for (const path of ['approvals', 'audit/checkpoints', 'policies/edit']) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 }), path).toBeVisible();
    await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
  }
  await expect(page.getByText('could not be loaded')).toHaveCount(0);
});

test('arrow keys go along tabs, around the ends', async ({ page }) => {
  await asToken(page);
  await page.goto('incidents');
  const tab = (name: RegExp) => page.getByRole('tab', { name });
  await tab(/Alerts/).focus();
  for (const [key, name] of [['ArrowLeft', /Kill switch/], ['ArrowRight', /Alerts/], ['End', /Kill switch/], ['Home', /Alerts/], ['ArrowRight', /Threat/]] as const) {
    await page.keyboard.press(key);
    await expect(tab(name)).toBeFocused();
    await expect(tab(name)).toHaveAttribute('aria-selected', 'true');
  }
});

test('a narrow window has a menu', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await asToken(page);
  await page.goto('');
  await expect(page.getByRole('navigation', { name: 'Main' })).toBeHidden();
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Agents' }).click();
  await expect(page).toHaveURL(/\/console\/agents$/);
  await expect(page.getByRole('navigation', { name: 'Main' })).toBeHidden();
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
});

test('the page may do little', async ({ request }) => {
  expect(adminToken).not.toBe('');
  const r = await request.get(`${url}/console/`);
  const policy = r.headers()['content-security-policy'] ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("require-trusted-types-for 'script'");
  expect(policy).not.toContain('unsafe');
});
