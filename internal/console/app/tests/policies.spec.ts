import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { accessible, asToken, call, expect, inBothThemes, test } from './harness';

const evil = '"><img src=x onerror="window.taken=1"><script>window.taken=1</script>';

test.beforeEach(({ page }) => page.emulateMedia({ reducedMotion: 'reduce' })); // colours change at once

/** atEnd puts the cursor at the end of the text that is edited. */
async function atEnd(page: Page) {
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End');
}

/** settled looks at the page once its colours have changed. */
async function settled(page: Page) {
  await page.waitForTimeout(300);
  await page.waitForFunction(() => document.getAnimations().every((a) => a.playState !== 'running'));
  await accessible(page);
}

const narrow = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

test('a policy with an error is put right, tested, tried, published, and rolled back', async ({ page, request }) => {
  test.setTimeout(120_000);
  await asToken(page);
  const before = (await call(request, 'GET', '/v1/policies/active')).version as number;

  await page.goto('policies');
  await expect(page.getByRole('row', { name: /declared by the configuration/ })).toBeVisible();
  await inBothThemes(page, () => settled(page));
  await page.getByRole('link', { name: 'Edit', exact: true }).click();
  await expect(page.getByText(`over version ${before}`)).toBeVisible();
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeDisabled();

  // Wrong: told in the text, in the list, and beside the file's name; and it cannot be published.
  await page.getByRole('button', { name: /30-guardrails/ }).first().click();
  await atEnd(page);
  await page.keyboard.insertText('\n@id("trial")\n@reason("payee")\nforbid (principal is Agent, action, resource)\nwhen { context.observed.trust.rnk < 3 };\n');
  await expect(page.locator('.cm-lintRange-error')).toHaveText('rnk');
  const problem = page.getByRole('tabpanel').getByRole('button', { name: /Error.*rnk/ });
  await expect(problem).toBeVisible();
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeDisabled();
  await inBothThemes(page, () => settled(page));

  // From the list to the place; completed from the schema.
  await problem.click();
  await expect(page.locator('.cm-content')).toBeFocused();
  for (let i = 0; i < 3; i++) await page.keyboard.press('Delete');
  await page.keyboard.press('Control+Space');
  await expect(page.getByRole('option', { name: /^rank/ })).toBeVisible();
  await page.keyboard.type('rank');
  await page.waitForTimeout(200); // the list takes no key that comes too soon to be meant for it
  await page.keyboard.press('Enter');
  await expect(page.locator('.cm-lintRange-error')).toHaveCount(0);
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeEnabled();

  // Annotations are completed with what the catalog declares.
  await atEnd(page);
  await page.keyboard.type('@rea');
  await expect(page.getByRole('option', { name: /^reason/ })).toBeVisible();
  await page.waitForTimeout(200);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('option', { name: /payee/ })).toBeVisible();
  await page.keyboard.press('Escape');
  for (let i = 0; i < 9; i++) await page.keyboard.press('Backspace'); // @reason("
  for (let i = 0; i < 2; i++) await page.keyboard.press('Delete'); // ")
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeEnabled();

  // What it says.
  await page.getByRole('tab', { name: 'Changes' }).click();
  await expect(page.getByText('trial', { exact: true })).toBeVisible();
  await expect(page.getByText('32 policies are unchanged.')).toBeVisible();

  // Cases: some of the organisation's own fail now.
  await page.getByRole('tab', { name: /^Tests/ }).click();
  await page.getByLabel('Files of cases').setInputFiles({
    name: 'organisation.test.yaml', mimeType: 'text/yaml', buffer: readFileSync(join(import.meta.dirname, '../../../../examples/agentdojo/organisation.test.yaml')),
  });
  await page.getByRole('button', { name: 'Run 1 file of cases' }).click();
  await expect(page.getByText(/\d+ passed, [1-9]\d* failed/)).toBeVisible();
  await accessible(page);

  // In shadow it changes nothing.
  await page.getByRole('tab', { name: 'What would change' }).click();
  await page.getByRole('button', { name: 'Try it' }).click();
  await expect(page.getByText(/of [\d,]+ decisions would come out otherwise/)).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole('group', { name: /becomes Denied/ }).first()).toBeVisible();
  await expect(page.getByRole('link', { name: /^d\d+$/ }).first()).toHaveAttribute('href', /\/console\/decisions\/d\d+$/);
  await inBothThemes(page, () => settled(page));
  const line = page.locator('.cm-line', { hasText: '@id("trial")' });
  await line.click();
  await page.keyboard.press('End');
  await page.keyboard.insertText('\n@mode("shadow")');
  await expect(page.getByText('the draft was changed since')).toBeVisible();
  await page.getByRole('button', { name: 'Try it' }).click();
  await expect(page.getByText('Nothing would change')).toBeVisible({ timeout: 30_000 });
  await page.getByRole('tab', { name: /^Tests/ }).click();
  await page.getByRole('button', { name: 'Run 1 file of cases' }).click();
  await expect(page.getByText(/58 passed, 0 failed/)).toBeVisible();

  // A draft survives the page.
  await page.reload();
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeEnabled();

  await page.getByRole('button', { name: 'Publish…' }).click();
  const dialog = page.getByRole('dialog', { name: `Publish over version ${before}` });
  await expect(dialog.getByText('trial', { exact: true })).toBeVisible();
  await dialog.getByLabel('Why').fill(`watch it ${evil}`);
  await accessible(page);
  await dialog.getByRole('button', { name: 'Publish' }).click();
  await expect(page.getByRole('heading', { name: `Version ${before + 1}` })).toBeVisible();
  await expect(page.getByText(`watch it ${evil}`)).toBeVisible();

  // Back.
  await page.goto(`policies/${before}`);
  await page.getByRole('button', { name: 'Roll back to it…' }).click();
  const back = page.getByRole('dialog', { name: `Roll back to version ${before}` });
  await expect(back.getByText('trial', { exact: true })).toBeVisible();
  await back.getByLabel('Why').fill('the trial is over');
  await accessible(page);
  // What was published after the dialog was opened was not seen, and is not replaced.
  const { source, catalog } = await call(request, 'GET', '/v1/policies/active');
  await call(request, 'POST', '/v1/policies', { source, catalog: `${catalog}\n`, if_version: before + 1, why: 'meanwhile' });
  await back.getByRole('button', { name: 'Roll back' }).click();
  await expect(back.getByRole('alert')).toContainText(`${before + 2}`);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Roll back to it…' }).click();
  await expect(back.getByText(`what is active, version ${before + 2}`)).toBeVisible();
  await back.getByLabel('Why').fill('the trial is over');
  await back.getByRole('button', { name: 'Roll back' }).click();
  await expect(page.getByRole('heading', { name: `Version ${before + 3}` })).toBeVisible();
  await expect(page.getByText(`Restores ${before}`)).toBeVisible();
  expect(await page.evaluate(() => (window as any).taken)).toBeUndefined();
});

test('a file is named once, and a draft that could not be published is not lost', async ({ page, request }) => {
  await asToken(page);
  const before = (await call(request, 'GET', '/v1/policies/active')).version as number;
  await page.goto('policies/edit');
  await page.getByRole('button', { name: 'File of policies' }).click();
  const dialog = page.getByRole('dialog', { name: 'A new file of policies' });
  for (const [name, why] of [
    ['policies/30-guardrails', 'There is a file policies/30-guardrails.cedar.'],
    ['schema.cedarschema', 'There is a file schema.cedarschema.'],
    ['policies/../x', 'Letters, digits'],
    ['policies//x', 'Letters, digits'],
    ['/x', 'Letters, digits'],
    ['x/', 'Letters, digits'],
    ['x'.repeat(200), 'At most 200 characters.'],
  ] as const) {
    await dialog.getByLabel('Name').fill(name);
    await expect(dialog.getByText(why), name).toBeVisible();
    await expect(dialog.getByRole('button', { name: 'Add' }), name).toBeDisabled();
  }
  await accessible(page);
  await dialog.getByLabel('Name').fill('policies/90 trial');
  await page.keyboard.press('Enter');
  await expect(dialog).toHaveCount(0);
  await atEnd(page);
  await page.keyboard.insertText('@id("spec-trial")\n@mode("shadow")\npermit (principal is Agent, action, resource);\n');
  await page.reload(); // at once
  await page.getByRole('button', { name: /90 trial/ }).first().click();
  await expect(page.locator('.cm-content')).toContainText('spec-trial');
  await page.getByRole('tab', { name: /^Tests/ }).click();
  await page.getByLabel('Files of cases').setInputFiles({ name: 'catalog.yaml', mimeType: 'text/yaml', buffer: Buffer.from('{}') });
  await expect(page.getByText('The draft has a file catalog.yaml that is none of cases.')).toBeVisible();

  // What goes wrong is told in the dialog, and the draft is as it was.
  await page.getByRole('button', { name: 'Publish…' }).click();
  const publish = page.getByRole('dialog', { name: `Publish over version ${before}` });
  await publish.getByLabel('Why').fill('a trial');
  await page.route('**/v1/policies', (route) => (route.request().method() === 'POST' ? route.fulfill({ status: 503, json: { error: { code: 'unavailable', message: 'the log is not durable' } } }) : route.continue()));
  await publish.getByRole('button', { name: 'Publish' }).click();
  await expect(publish.getByRole('alert')).toContainText('the log is not durable');
  await expect(publish.getByLabel('Why')).toHaveValue('a trial');
  await accessible(page);
  await page.unroute('**/v1/policies');
  await page.reload();
  await expect(page.getByText(`over version ${before}`)).toBeVisible();
  await page.getByRole('button', { name: /90 trial/ }).first().click();
  await expect(page.locator('.cm-content')).toContainText('spec-trial');

  // What was published was, whatever else cannot be asked for afterwards.
  await page.getByRole('button', { name: 'Publish…' }).click();
  await publish.getByLabel('Why').fill('a trial');
  await page.route('**/v1/policies/active', (route) => route.abort());
  await publish.getByRole('button', { name: 'Publish' }).click();
  await expect(page.getByRole('heading', { name: `Version ${before + 1}` })).toBeVisible();
  await page.unroute('**/v1/policies/active');
  await page.goto('policies/edit');
  await expect(page.getByText(`over version ${before + 1}`, { exact: true })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Publish…' })).toBeDisabled();
  await call(request, 'POST', `/v1/policies/${before}/rollback`, { why: 'the test is over' });
});

test('hostile texts are texts', async ({ page, request }) => {
  test.setTimeout(90_000);
  await asToken(page);
  const active = await call(request, 'GET', '/v1/policies/active');
  const files = [...active.source.files, { name: `x${evil.replaceAll('/', '')}.cedar`, text: `// ${evil}\n@id("${'<b>bold</b>'}")\n@title("${evil.replaceAll('"', "'")}")\n@mode("shadow")\npermit (principal, action, resource)\nwhen { "${evil.replaceAll('"', "'")}" != "</style><svg/onload=window.taken=1>" };\n` }];
  const catalog = active.catalog.replace('reasons:', `reasons:\n  hostile: {message: ${JSON.stringify(evil)}, detail: "<iframe src=javascript:window.taken=1>"}`);
  const v = await call(request, 'POST', '/v1/policies', { source: { schema: active.source.schema, files }, catalog, if_version: active.version, why: evil });
  try {
    for (const path of ['policies', `policies/${v.version}?file=${encodeURIComponent(files.at(-1).name)}`, `policies/${v.version - 1}/diff/${v.version}`, 'catalog?tab=reasons', 'policies/edit']) {
      await page.goto(path);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      if (path.includes('?file')) await expect(page.getByText("permit", { exact: true })).toBeVisible();
      if (path.includes('diff')) {
        await page.getByText('<b>bold</b>', { exact: true }).click();
        await page.getByRole('tab', { name: 'How it is written' }).click();
        await expect(page.getByText(`// ${evil}`)).toBeVisible();
      }
      if (path.includes('reasons')) await expect(page.getByText(evil).first()).toBeVisible();
      if (path.includes('edit')) {
        await page.getByRole('navigation', { name: 'Files of the draft' }).getByRole('button', { name: /onerror/ }).first().click();
        await expect(page.locator('.cm-content')).toContainText('svg/onload');
      }
      await accessible(page);
      expect(await page.evaluate(() => [(window as any).taken, document.querySelectorAll('main :is(img:not(.cm-widgetBuffer), iframe, svg[onload])').length]), path).toEqual([undefined, 0]);
    }
  } finally {
    await call(request, 'POST', `/v1/policies/${active.version}/rollback`, { why: 'the test is over' });
  }
});

test('the catalog: every part, and calendars where clocks change', async ({ page }) => {
  await asToken(page);
  for (const tab of ['capabilities', 'classes', 'schedules', 'networks', 'approvers', 'reasons', 'obligations']) {
    await page.goto(`catalog?tab=${tab}`);
    await expect(page.getByRole('tab', { selected: true })).toBeVisible();
    await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
    await inBothThemes(page, () => settled(page));
  }
  await page.goto('catalog?tab=schedules&date=2026-10-20');
  await expect(page.getByRole('group', { name: /Sun 2026-10-25: closed\. The clocks go back by 60 minutes: the day has 25 hours/ })).toBeVisible();
  await expect(page.getByRole('group', { name: /Mon 2026-10-19: open 08:00–18:00/ })).toBeVisible();
  await page.getByRole('button', { name: 'Month' }).click();
  await expect(page.getByText('October 2026')).toBeVisible();
  await page.getByRole('button', { name: 'The month after' }).click();
  await expect(page.getByText('November 2026')).toBeVisible();
  await accessible(page);
});

test('the catalog is edited with what is wrong told at once', async ({ page }) => {
  await asToken(page);
  await page.goto('catalog/edit');
  await page.locator('.cm-line', { hasText: 'zone: Europe/Zurich' }).click();
  await page.keyboard.press('End');
  await page.keyboard.insertText('h');
  await expect(page.locator('.cm-lintRange-error').first()).toHaveText('Europe/Zurichh');
  await expect(page.getByRole('tabpanel').getByRole('button', { name: /Error.*Europe\/Zurichh/ })).toBeVisible();
  await page.keyboard.press('Backspace');
  await expect(page.locator('.cm-lintRange-error')).toHaveCount(0);
  await page.getByRole('button', { name: 'schema.cedarschema' }).click();
  await expect(page.locator('.cm-content')).toContainText('appliesTo');
  await accessible(page);
});

test('narrow windows, and those who only read', async ({ page, request }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await asToken(page);
  for (const path of ['policies', 'policies/1', 'policies/edit', 'catalog', 'catalog?tab=schedules', 'catalog?tab=schedules&view=month', 'catalog?tab=approvers']) {
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
    expect(await narrow(page), path).toBe(true);
    await accessible(page);
  }
  await page.setViewportSize({ width: 1024, height: 800 });
  await page.goto('policies/99');
  await expect(page.getByText('there is no policy version 99')).toBeVisible();

  const made = await call(request, 'POST', '/v1/callers', { name: `reader-${Date.now()}`, role: 'viewer', why: 'a test' });
  await asToken(page, made.token);
  for (const [path, heading] of [['policies', 'Policies'], ['policies/1', 'Version 1'], ['catalog', 'Catalog']]) {
    await page.goto(path!);
    await expect(page.getByRole('heading', { name: heading, level: 1 })).toBeVisible();
    await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
    await expect(page.getByRole('link', { name: 'Edit', exact: true })).toHaveCount(0);
    await expect(page.getByRole('button', { name: /Roll back/ })).toHaveCount(0);
  }
});
