// tus-js-client in node. Prints a line of JSON for each job that it reads: what became of the
// upload, or `error`. A job with a `storage` remembers its uploads there and goes on with one.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { FileUrlStorage, Upload } from 'tus-js-client';

const PATIENCE = 90_000;

async function run(job) {
  const answers = [];
  let upload;
  const end = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('too slow')), PATIENCE).unref();
    const file = createReadStream(job.file);
    // Of what comes through a pipe nobody knows the length.
    upload = new Upload(job.deferred ? file.pipe(new PassThrough()) : file, {
      endpoint: job.endpoint,
      headers: job.headers,
      metadata: job.metadata,
      chunkSize: job.chunkSize ?? Infinity,
      uploadDataDuringCreation: job.withCreation ?? false,
      uploadLengthDeferred: job.deferred ?? false,
      storeFingerprintForResuming: job.storage !== undefined,
      urlStorage: job.storage && new FileUrlStorage(job.storage),
      onAfterResponse: (request, response) => {
        const [offset, image] = ['Upload-Offset', 'Content-Location'].map((name) => response.getHeader(name));
        answers.push({ method: request.getMethod(), status: response.getStatus(), offset, image });
      },
      onProgress: (sent) => {
        if (job.abortAt && sent >= job.abortAt) upload.abort(job.terminate ?? false).then(resolve, reject);
      },
      onSuccess: resolve,
      onError: reject,
    });
  });
  const [previous] = job.storage ? await upload.findPreviousUploads() : [];
  if (previous) upload.resumeFromPreviousUpload(previous);
  upload.start();
  await end;
  return { resumed: previous !== undefined, url: upload.url, answers };
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await run(JSON.parse(line)).catch((error) => ({ error: error.message }));
  console.log(JSON.stringify(result));
}
