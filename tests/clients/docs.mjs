// Opens pages in a Chromium: for each line of JSON with a `url` that it reads, prints one with what the
// page asked for, what the browser said of it, and what it looks like on a telephone and in the dark.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'],
});

async function look({ url }) {
  const context = await browser.newContext({ viewport: { width: 375, height: 700 } });
  try {
    const page = await context.newPage();
    const [requests, said] = [[], []];
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.message));
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));
    });
    await page.goto(url, { waitUntil: 'networkidle' });
    const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await colour();
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await colour();
    return await page.evaluate((seen) => ({
      ...seen,
      violations: window.violations,
      heading: document.querySelector('h1').textContent,
      width: document.documentElement.scrollWidth,
      links: [...document.querySelectorAll('a')].map((link) => link.getAttribute('href')),
      places: [...document.querySelectorAll('[id]')].map((place) => place.id),
    }), { requests, said, light, dark });
  } finally {
    await context.close();
  }
}

const print = (line) => console.log(JSON.stringify(line));
for await (const line of createInterface({ input: process.stdin })) {
  print(await look(JSON.parse(line)).catch((error) => ({ error: error.message })));
}
await browser.close();
process.exit(0);
