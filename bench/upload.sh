#!/usr/bin/env bash
# Uploads through gatehouse, straight to the store by signed PUT, and through tusd.
# See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

cases=${CASES:-small large huge standin burst}
targets=${TARGETS:-gatehouse direct tusd}
burst_rounds=${BURST_ROUNDS:-2}
small=2000 large=16 standin=10000 burst=200
large_size=50000000 huge_size=$((1 << 30))
if [[ -n $quick ]]; then
    rounds=2 burst_rounds=1 small=100 large=4 standin=200 burst=8 huge_size=$((64 << 20))
fi
raised=GATEHOUSE__CONSUMERS__IMAGES__MAX_FILE_SIZE=2GiB

port_of() {
    case $1 in
        gatehouse) echo "${ports[2]}" ;;
        gatehouse-warn) echo "${ports[3]}" ;;
        tusd*) echo "${ports[4]}" ;;
    esac
}

# serve TARGET: starts the service that a target needs, if any, in front of $store.
serve() {
    local settings
    read -r -a settings < <(s3_settings "$store")
    case $1 in
        gatehouse) start_gatehouse "$1" "$(port_of "$1")" "$raised" "${settings[@]}" ;;
        gatehouse-warn) start_gatehouse "$1" "$(port_of "$1")" "$raised" GATEHOUSE__TELEMETRY__LOG=warn "${settings[@]}" ;;
        tusd*)
            [[ -z ${pid_of[tusd]:-} ]] || return 0
            start tusd "$work/tusd" env TMPDIR="$work/tusd" "$cache/tusd" -host 127.0.0.1 \
                -port "$(port_of tusd)" -s3-bucket $bucket -s3-endpoint "$store"
            await tusd "http://127.0.0.1:$(port_of tusd)/metrics"
            ;;
    esac
}

# The name under which a target's service was started.
service_of() { echo "${1%-patch}"; }

# send TARGET FLAGS...: one run of uploads; prints its line of results.
send() {
    local target=$1 url service
    url=http://127.0.0.1:$(port_of "$target")
    service=${pid_of[$(service_of "$target")]:-0}
    shift
    case $target in
        gatehouse*) load gatehouse -url "$url" -service-pid "$service" "$@" ;;
        tusd) load tus -url "$url/files/" -service-pid "$service" "$@" ;;
        tusd-patch) load tus -patch -url "$url/files/" -service-pid "$service" "$@" ;;
        direct) load s3 -url "$store" -bucket $bucket "$@" ;;
        direct-parts) load s3 -parts $((8 << 20)) -url "$store" -bucket $bucket "$@" ;;
        direct-sha256) load s3 -sha256 -url "$store" -bucket $bucket "$@" ;;
        *) die "no such target: $target" ;;
    esac
}

# all_at_once CASE STORE ROUND [VARIABLE=VALUE]...: every upload begins at the same time.
all_at_once() {
    local name=$1 label=$2 round=$3
    shift 3
    start_gatehouse gatehouse "$(port_of gatehouse)" "$raised" "$@"
    send gatehouse -case "$name" -target "gatehouse, $label" -round "$round" -store-pid "$store_pid" \
        -n "$burst" -size "$large_size" -c "$burst" | tee -a "$lines" >&2
    stop gatehouse
    rm -rf "$work/gatehouse"
}

chosen() { [[ " $cases " == *" $1 "* ]]; }

build_load
need_minio
[[ $targets != *gatehouse* ]] || need_gatehouse
if [[ $targets == *tusd* ]] && ! need_tusd; then
    say "tusd cannot be built here: going on without it"
    targets=$(tr ' ' '\n' <<<"$targets" | grep -v '^tusd' | xargs)
fi
read -r -a against_store <<<"$targets"
read -r -a against_standin < <(tr ' ' '\n' <<<"$targets" | grep -E '^(gatehouse|direct$)' | xargs)
open_results upload

if chosen small || chosen large || chosen huge; then
    start_minio "$(data_folder 2048)"
    ! chosen small || compare "100 KB, 32 at a time" "$small" 100000 32 "${against_store[@]}"
    ! chosen large || compare "50 MB, 8 at a time" "$large" "$large_size" 8 "${against_store[@]}"
    ! chosen huge || compare "1 × $((huge_size >> 20)) MiB" 1 "$huge_size" 1 "${against_store[@]}"
    stop minio
    rm -rf "$minio_data"
fi

if chosen standin && ((${#against_standin[@]})); then
    start_standin
    compare "100 KB, 32 at a time, stand-in store" "$standin" 100000 32 "${against_standin[@]}"
    stop standin
fi

if chosen burst && [[ $targets == *gatehouse* ]]; then
    needed=$((burst * large_size / 1000000))
    (($(available_mib "$work") > needed + 2048)) || die "$needed MB for the local store are not in ${work%/*}"
    for ((round = 1; round <= burst_rounds; round++)); do
        start_minio "$(data_folder $needed)"
        read -r -a settings < <(s3_settings "$store")
        all_at_once "$burst × 50 MB at once" "s3" "$round" "${settings[@]}"
        stop minio
        rm -rf "$minio_data"
        store_pid=0 all_at_once "$burst × 50 MB at once" "local" "$round"
    done
fi

close_results
