# Standard Webhooks' own library. Prints a line of JSON for each job that it reads: what a request tells,
# or the `error` where its signature is not right.
import json
import sys

from standardwebhooks import Webhook

for line in sys.stdin:
    job = json.loads(line)
    try:
        result = {"told": Webhook(job["secret"]).verify(job["body"], job["headers"])}
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
