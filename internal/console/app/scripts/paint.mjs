// Measures how soon the overview is there in a browser that has nothing yet, and what that takes to send: of a service that runs,
// such as `safeconduct demo --listen 127.0.0.1:8180`:
//   CONSOLE_URL=http://127.0.0.1:8180 CONSOLE_ADMIN_TOKEN=sc_admin_... npm run paint
// Each of the visits has a browser process of its own, started before the clock is. Times count from the beginning of the visit
// (performance.timeOrigin); figures are there with the first frame after the cards of the overview have numbers.
import { chromium } from '@playwright/test';

const url = process.env.CONSOLE_URL ?? 'http://127.0.0.1:8180';
const extraHTTPHeaders = { Authorization: `Bearer ${process.env.CONSOLE_ADMIN_TOKEN}` };
const visits = Number(process.env.VISITS ?? 15);

const painted = [];
const shown = [];
let bytes = 0;
for (let i = 0; i < visits; i++) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--headless'] });
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, extraHTTPHeaders });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Network.enable');
  let sent = 0;
  cdp.on('Network.loadingFinished', (e) => (sent += e.encodedDataLength));
  await page.addInitScript(() => {
    const look = () => {
      if (document.querySelector('main .stat .value')) requestAnimationFrame(() => (window.figuresAt = performance.now()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await page.goto(`${url}/console/`, { waitUntil: 'commit' });
  await page.waitForFunction(() => window.figuresAt > 0);
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  painted.push(paint);
  shown.push(await page.evaluate(() => window.figuresAt));
  await page.waitForLoadState('load');
  bytes = Math.max(bytes, sent);
  await browser.close();
}

const say = (all) => {
  all.sort((a, b) => a - b);
  const at = (q) => `${Math.round(all[Math.min(all.length - 1, Math.floor(q * all.length))])} ms`;
  return `fastest ${at(0)}, median ${at(0.5)}, slowest ${at(1)}`;
};
console.log(`${visits} visits, each with an empty cache`);
console.log(`first contentful paint: ${say(painted)}`);
console.log(`figures of the overview: ${say(shown)}`);
console.log(`sent for one visit, at most: ${Math.round(bytes / 1000)} kB`);
