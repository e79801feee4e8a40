"""What the description cannot tell Schemathesis: bytes that are an image, and URLs that lead nowhere."""

import schemathesis
from hypothesis import strategies as st

# One pixel, and whatever is behind it.
GIF = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
images = st.binary(max_size=64).map(GIF.__add__)

schemathesis.openapi.format("binary", images)
schemathesis.openapi.format("uri", st.sampled_from(["http://127.0.0.1:9/", "http://127.0.0.1:9/hook?a=b"]))
for media_type in ("application/octet-stream", "application/offset+octet-stream", "image/*", "image/jpeg"):
    schemathesis.openapi.media_type(media_type, images)
