// Standard Webhooks' own library. Prints a line of JSON for each job that it reads: what a request tells,
// or the `error` where its signature is not right.
import { createInterface } from 'node:readline';
import { Webhook } from 'standardwebhooks';

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  let result;
  try {
    result = { told: new Webhook(job.secret).verify(job.body, job.headers) };
  } catch (error) {
    result = { error: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(result));
}
