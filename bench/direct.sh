#!/usr/bin/env bash
# What an upload costs gatehouse when its bytes go straight to the store by a signed PUT, beside one whose bytes
# go through: CPU by the upload, with a declared SHA-256 and without. See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

read -r -a targets <<<"${TARGETS:-multipart direct direct-sha256}"
count=${COUNT:-100} size=5000000
if [[ -n $quick ]]; then rounds=2 count=16; fi

service_of() { echo "$1"; }

port_of() {
    case $1 in
        multipart) echo "${ports[2]}" ;;
        direct) echo "${ports[3]}" ;;
        direct-sha256) echo "${ports[4]}" ;;
        *) die "no such target: $1" ;;
    esac
}

# serve TARGET: each has a gatehouse of its own in front of $store.
serve() {
    local settings
    read -r -a settings < <(s3_settings "$store")
    start_gatehouse "$1" "$(port_of "$1")" "${settings[@]}"
}

# send TARGET FLAGS...: one run of uploads; prints its line of results.
send() {
    local target=$1 command
    shift
    case $target in
        multipart) command=(gatehouse) ;;
        direct) command=(direct) ;;
        direct-sha256) command=(direct -sha256) ;;
    esac
    load "${command[@]}" -url "http://127.0.0.1:$(port_of "$target")" -service-pid "${pid_of[$target]}" -per-upload "$@"
}

build_load
need_minio
need_gatehouse
open_results direct
start_minio "$(data_folder 2048)"
compare "$count × 5 MB, 8 at a time" "$count" "$size" 8 "${targets[@]}"
close_results
