#!/usr/bin/env bash
# Ten minutes of requests of all kinds at once, to see that nothing grows and nothing is left over: eight ordinary
# tenants by the clock (uploads in every way, of 100 KB and now and then 5 or 12 MB, reads, deletions, proxied
# requests; one upload in twenty is broken off), a slow client of each, and a noisy tenant with 32 uploads at a time.
# What is read is compared with what was sent. MinIO, or the local store with STORE=local; SQLite in memory.
#
# It exits 1, and says why, if
# - an answer was not as expected, or bytes were wrong; only the noisy tenant may be refused, with Retry-After;
# - resident memory grew by more than 15 % from the second third of the time to the last, behind a warm-up of a tenth
#   (medians: what the load of the moment takes swings by less than that, a leak that matters goes on), open files by
#   more than 10 % and 20, threads by more than 10 % and 4;
# - unfinished changes or jobs are in the database a minute after the last request.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

[[ ${STORE:=minio} == local ]] || need_minio
need_gatehouse
build_load
length=${MINUTES:-10}m every=5s trickle=30s
if [[ -n $quick ]]; then length=5s every=200ms trickle=2s; fi

folder=$memory/server url=http://127.0.0.1:${ports[2]} operations=127.0.0.1:${ports[3]} upstream=127.0.0.1:${ports[4]}
settings=(
    GATEHOUSE__OPERATIONS__LISTEN="$operations" GATEHOUSE__SERVICES__SINK__URL="http://$upstream"
    GATEHOUSE__DATABASE__URL="sqlite://$folder/gatehouse.db" GATEHOUSE__STORAGE__LOCAL__ROOT="$folder/objects"
)
mkdir -p "$folder"
store_pid=0
if [[ $STORE == minio ]]; then
    start_minio "$(data_folder 4096)"
    read -r -a in_minio < <(s3_settings "$store")
    settings+=("${in_minio[@]}")
    while sleep 5; do empty_trash; done & # minutes of it would be gigabytes
    pid_of[trash]=$!
fi
start sink "$work" "$work/load" sink -listen "$upstream"
await sink "http://$upstream/"
start_gatehouse gatehouse "${ports[2]}" "${settings[@]}"

open_results soak
load soak -url "$url" -operations "http://$operations" -length "$length" -every "$every" -trickle "$trickle" \
    -service-pid "${pid_of[gatehouse]}" -store-pid "$store_pid" | tee -a "$lines" >&2
well=true
{
    machine
    echo "8 tenants, 32 requests a second, beside 8 slow clients and 32 uploads at a time of a noisy tenant; $STORE store"
    echo
    load soaked "$lines"
} | tee "$page" || well=false
say "wrote $page and $lines"
$well
