"""Labels images, for a step of the kind "http": python3 label.py PORT SECRET

Needs: pip install pillow standardwebhooks
"""

import io
import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image, ImageStat, UnidentifiedImageError
from standardwebhooks import Webhook, WebhookVerificationError

PORT, SECRET = int(sys.argv[1]), sys.argv[2]


def labels(image):
    """Where a model would look at the picture."""
    red, green, blue = ImageStat.Stat(image.convert("RGB")).mean
    light = "bright" if red + green + blue > 382 else "dark"
    return [light, max((red, "reddish"), (green, "greenish"), (blue, "bluish"))[1]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = Webhook(SECRET).verify(body, dict(self.headers))
            with urllib.request.urlopen(event["content"]["url"], timeout=20) as content:
                image = Image.open(io.BytesIO(content.read()))
            self.answer(200, {"labels": labels(image), "format": image.format})
        except WebhookVerificationError:
            self.answer(401, {})
        except UnidentifiedImageError:
            self.answer(422, {})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print("listening on", server.server_port, flush=True)
    server.serve_forever()
