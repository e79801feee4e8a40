#!/usr/bin/env bash
# From exec to the first 200 on /healthz with the local store, and idle memory.
# See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

starts=${STARTS:-20}
[[ -z $quick ]] || starts=3

build_load
need_gatehouse
open_results start

mkdir "$work/gatehouse"
cd "$work/gatehouse" # a folder without settings.toml
export GATEHOUSE__SERVER__LISTEN=127.0.0.1:${ports[0]} GATEHOUSE__STORAGE__LOCAL__ROOT=$work/gatehouse/objects
measure() {
    load start -url "http://127.0.0.1:${ports[0]}/healthz" "$@" "$gatehouse" 2>"$work/gatehouse.log" ||
        { tail -n 20 "$work/gatehouse.log" >&2; die "gatehouse did not start"; }
}
measure -n 1 -idle 0s >/dev/null # reads the binary into the page cache
measure -n "$starts" -case "start" -target "gatehouse" | tee -a "$lines" >&2

close_results
