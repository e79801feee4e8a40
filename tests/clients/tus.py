# tuspy. Prints a line of JSON for each job that it reads: what became of the upload, or `error`.
# A job with a `storage` remembers its uploads there and goes on with one.
import json
import signal
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

PATIENCE = 90


def run(job):
    client = TusClient(job["endpoint"], headers=job["headers"])
    storage = FileStorage(job["storage"]) if "storage" in job else None
    uploader = client.uploader(
        job["file"],
        metadata=job["metadata"],
        chunk_size=job.get("chunkSize", sys.maxsize),
        store_url=storage is not None,
        url_storage=storage,
        upload_checksum=job.get("checksum", False),
        retries=3,
        retry_delay=1,
    )
    started = uploader.offset or 0
    uploader.upload(stop_at=job.get("stopAt"))
    told = uploader.request.response_headers
    return {"url": uploader.url, "from": started, "offset": uploader.offset, "image": told.get("content-location")}


for line in sys.stdin:
    signal.alarm(PATIENCE)
    try:
        result = run(json.loads(line))
    except Exception as error:
        content = getattr(error, "response_content", None)
        result = {"error": f"{type(error).__name__}: {error} {content}"}
    print(json.dumps(result), flush=True)
