// A Chromium with a page of an origin of its own. Prints that origin as one line of JSON, and then
// a line for each job that it reads: what became of the upload, or `error`.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const PATIENCE = 90_000;

const { outputFiles } = await build({
  entryPoints: ['page.mjs'], bundle: true, write: false, format: 'iife', logLevel: 'error',
});
const html = `<!doctype html><meta charset="utf-8"><title>Upload</title>
  <form method="post" enctype="multipart/form-data" target="answer">
    <input type="file" id="file" name="file"><button>Send</button>
  </form>
  <iframe name="answer"></iframe><script src="/page.js"></script>`;
const server = createServer((request, response) => {
  const script = request.url === '/page.js';
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
  response.end(script ? outputFiles[0].text : html);
});
await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage'],
});

async function open(page, file) {
  await page.goto(origin);
  await page.setInputFiles('#file', file);
}

// Uploads until so much is sent, and is then gone, as a tab is that was closed.
async function breakOff(page, job) {
  const upload = page.evaluate((job) => window.upload(job), job);
  await Promise.race([upload, page.waitForFunction((sent) => window.sent >= sent, job.reloadAt, { polling: 20 })]);
  upload.catch(() => {});
}

async function sendForm(page, job) {
  const direct = await page.evaluate((job) => window.upload(job), job);
  const sent = page.waitForResponse((response) => response.url() === direct.url);
  await page.click('button');
  const status = (await sent).status();
  const done = await page.evaluate(([job, direct]) => window.complete(job, direct), [job, direct]);
  return { ...done, status };
}

async function run(job) {
  const context = await browser.newContext();
  try {
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    const said = [];
    page.on('console', (message) => message.type() === 'error' && said.push(message.text()));
    if (job.bytesPerSecond) {
      const network = await context.newCDPSession(page);
      const conditions = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: job.bytesPerSecond };
      await network.send('Network.emulateNetworkConditions', conditions);
    }
    await open(page, job.file);
    if (job.reloadAt) {
      await breakOff(page, job);
      await open(page, job.file);
    }
    const upload = job.client === 'form' ? sendForm(page, job) : page.evaluate((job) => window.upload(job), job);
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('too slow')), PATIENCE); });
    return await Promise.race([upload, late])
      .catch((error) => ({ error: [error.message, ...said].join('\n') }))
      .finally(() => clearTimeout(timer));
  } finally {
    await context.close();
  }
}

const print = (line) => console.log(JSON.stringify(line));
print({ origin });
for await (const line of createInterface({ input: process.stdin })) {
  print(await run(JSON.parse(line)).catch((error) => ({ error: error.message })));
}
await browser.close();
process.exit(0);
