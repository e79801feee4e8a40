// In the page: uploads the file that was chosen with the client that a job names, as a web
// application would that is served from elsewhere than the gateway.
import * as five from 'uppy5';
import * as six from 'uppy6';

const input = () => document.querySelector('#file');

// Asks the gateway; a job's `direct` is where direct uploads are.
async function ask(job, method, path, body) {
  const headers = body ? { ...job.headers, 'content-type': 'application/json' } : job.headers;
  const answer = await fetch(job.direct + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

// What a direct upload of the chosen file is to be sent by.
function begin(job, more) {
  const { name, type, size } = input().files[0];
  const body = { fileName: name, contentType: type, size, ...job.declared, ...more };
  return ask(job, 'POST', `/${job.customer}`, body);
}

async function complete(job, { uploadId }) {
  return { image: await ask(job, 'POST', `/${uploadId}/complete`) };
}

// Lets this Uppy send the chosen file; pauses it for a while where the job says so.
function send(uppy, job) {
  const file = input().files[0];
  return new Promise((resolve, reject) => {
    let paused = false;
    uppy.on('upload-progress', (sending, { bytesUploaded }) => {
      window.sent = bytesUploaded;
      if (paused || !job.pauseAt || bytesUploaded < job.pauseAt) return;
      paused = true;
      uppy.pauseResume(sending.id);
      setTimeout(() => uppy.pauseResume(sending.id), 300);
    });
    uppy.on('upload-success', (_, response) => resolve({ paused, url: response.uploadURL }));
    uppy.on('upload-error', (_, error) => reject(error));
    uppy.addFile({ name: file.name, type: file.type, data: file });
    uppy.upload();
  });
}

const clients = {
  // Uppy by tus. What was answered is told, so far as a page of this origin may read it.
  async tus(job) {
    const answers = [];
    const uppy = new six.Uppy().use(six.Tus, {
      endpoint: job.endpoint,
      headers: job.headers,
      chunkSize: job.chunkSize ?? Infinity,
      uploadDataDuringCreation: job.withCreation ?? false,
      onAfterResponse: (request, response) => {
        const [offset, image] = ['Upload-Offset', 'Content-Location'].map((name) => response.getHeader(name));
        answers.push({ method: request.getMethod(), status: response.getStatus(), offset, image });
      },
    });
    return { ...(await send(uppy, job)), answers };
  },

  // Uppy 6 by its signRequest: a PUT, or the fields of a form.
  async signed(job) {
    let direct;
    const uppy = new six.Uppy().use(six.AwsS3, {
      shouldUseMultipart: false,
      signRequest: async () => {
        direct = await begin(job, job.form && { form: true });
        const { url, headers, fields } = direct;
        return { url, headers, fields };
      },
    });
    await send(uppy, job);
    return complete(job, direct);
  },

  // Uppy 5 by its getUploadParameters: the same two.
  async parameters(job) {
    let direct;
    const uppy = new five.Uppy().use(five.AwsS3, {
      shouldUseMultipart: false,
      getUploadParameters: async () => {
        direct = await begin(job, job.form && { form: true });
        const { method, url, headers, fields } = direct;
        return { method, url, headers, fields };
      },
    });
    await send(uppy, job);
    return complete(job, direct);
  },

  // Uppy 5 in parts, which it begins, signs, lists and joins by the gateway's answers.
  async parts(job) {
    let direct = await begin(job);
    let image;
    const sent = [];
    const part = (number) => direct.parts.find((part) => part.number === number);
    const uppy = new five.Uppy().use(five.AwsS3, {
      shouldUseMultipart: true,
      limit: 1,
      getChunkSize: () => part(1).size,
      createMultipartUpload: () => ({ uploadId: direct.uploadId, key: input().files[0].name }),
      signPart: (_, { partNumber }) => {
        sent.push(partNumber);
        const { url, headers } = part(partNumber);
        return { url, headers };
      },
      listParts: async () => {
        direct = await ask(job, 'GET', `/${direct.uploadId}`);
        const done = direct.parts.filter((part) => part.done);
        return done.map(({ number, size }) => ({ PartNumber: number, Size: size, ETag: `part ${number}` }));
      },
      completeMultipartUpload: async () => {
        ({ image } = await complete(job, direct));
        return { location: direct.uploadId };
      },
      abortMultipartUpload: () => ask(job, 'DELETE', `/${direct.uploadId}`),
    });
    const { paused } = await send(uppy, job);
    return { image, paused, sent, parts: direct.parts.length };
  },

  // No library at all.
  async fetch(job) {
    const direct = await begin(job);
    const { method, url, headers } = direct;
    const answer = await fetch(url, { method, headers, body: input().files[0] });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return complete(job, direct);
  },

  // No script either, once the form is there: it is to be sent by its button.
  async form(job) {
    const direct = await begin(job, { form: true });
    const form = document.querySelector('form');
    form.action = direct.url;
    for (const [name, value] of Object.entries(direct.fields)) {
      const field = Object.assign(document.createElement('input'), { type: 'hidden', name, value });
      form.insertBefore(field, input());
    }
    return direct;
  },
};

window.upload = (job) => clients[job.client](job);
window.complete = complete;
