#!/usr/bin/env python3
"""Writes advisories.toml anew: tests/supply_chain/advisories.py CHECKOUT > tests/supply_chain/advisories.toml

CHECKOUT is a clone of https://github.com/rustsec/advisory-db. Taken are the advisories of all crates in
Cargo.lock and of those below, but for withdrawn ones and for crates that are merely unmaintained.
"""

import pathlib
import re
import subprocess
import sys
import tomllib

# Not in Cargo.lock, and what one might well add.
OTHERS = """
actix-files atty axum-core chrono curve25519-dalek ed25519-dalek image jsonwebtoken native-tls openssl
openssl-src prost-types protobuf quick-xml quinn-proto reqwest rsa rustls-pemfile serde_yaml serde_yml tar
tokio-tungstenite tonic warp zip
""".split()

root = pathlib.Path(__file__).resolve().parents[2]
checkout = pathlib.Path(sys.argv[1])


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def git(*arguments):
    command = ["git", "-C", checkout, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


lock = tomllib.loads((root / "Cargo.lock").read_text())
wanted = {package["name"] for package in lock["package"]} | set(OTHERS)
rows = []
for path in git("ls-tree", "-r", "--name-only", "HEAD", "crates").splitlines():
    name = path.split("/")[1]
    if name not in wanted or not path.endswith(".md"):
        continue
    front, title = re.search(r"```toml\n(.*?)```\s*#\s*([^\n]*)", git("show", f"HEAD:{path}"), re.S).groups()
    described = tomllib.loads(front)
    advisory, versions = described["advisory"], described["versions"]
    if advisory.get("withdrawn") or advisory.get("informational") in ("unmaintained", "notice"):
        continue
    good = versions.get("patched", []) + versions.get("unaffected", [])
    rows.append((name, advisory["id"], good, title.strip().replace("`", "")))

day = git("log", "-1", "--format=%cs").strip()
print(f"""\
# Versions of crates with known faults: `no_known_bad_version_is_locked` refuses each that is in none of `good`.
# Made by advisories.py of the RustSec advisory database (https://rustsec.org, CC0-1.0) as of {day}:
# the crates in Cargo.lock, and some that one might add.
""")
for name, number, good, title in sorted(rows):
    ranges = ", ".join(quoted(entry) for entry in good)
    print(f"[[advisory]]\ncrate = {quoted(name)}\nid = {quoted(number)}\ngood = [{ranges}]\nwhy = {quoted(title)}\n")
