import { defineConfig } from '@playwright/test';

// The tests need a service that runs: `go test ./internal/console/consoletest` starts one and calls Playwright. By hand:
//   CONSOLE_URL=http://localhost:8180 CONSOLE_ADMIN_TOKEN=sc_admin_... CONSOLE_PEP_TOKEN=sc_pep_... npx playwright test
export default defineConfig({
  testDir: 'tests',
  outputDir: process.env.CONSOLE_OUTPUT ?? 'node_modules/.playwright',
  timeout: 40_000,
  expect: { timeout: 10_000 },
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  use: {
    baseURL: `${process.env.CONSOLE_URL ?? 'http://localhost:8180'}/console/`,
    browserName: 'chromium',
    viewport: { width: 1440, height: 900 },
    launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--headless'] },
    screenshot: 'off',
    trace: 'off',
    video: 'off',
  },
});
