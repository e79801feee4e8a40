#!/usr/bin/env bash
# Twice as many uploads as the server can take, by the clock, beside a quiet tenant that uploads now and then: how
# many are stored and how many refused, and how long the quiet tenant's take, against the same tenant alone. STORE=
#   local   the local store and SQLite in memory: cores are what is narrow;
#   disk    both on the disk that TMPDIR is on, which is what is narrow then;
#   minio   MinIO and SQLite in memory;
#   narrow  a stand-in store that puts eight objects at a time, each in 20 ms, as one elsewhere might: it is what is
#           narrow, and no core is.
# CORES="0 1" gives the service one core and the load the other.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

need curl jq
need_gatehouse
build_load
case ${STORE:=local} in
    local | disk | narrow) ;;
    minio) need_minio ;;
    *) die "STORE is local, disk, minio or narrow" ;;
esac
count=${COUNT:-4000} size=${SIZE:-100000} seconds=${SECONDS_A_RUN:-10} quiet_rate=${QUIET_RATE:-10}
if [[ -n $quick ]]; then count=50 seconds=1 rounds=1; fi

folder=$memory/server url=http://127.0.0.1:${ports[2]}
[[ $STORE != disk ]] || folder=$work/server
on_core=()
if [[ -n ${CORES:-} ]]; then
    read -r core for_load <<<"$CORES"
    on_core=(taskset -c "$core")
    taskset -pc "$for_load" $$ >/dev/null
fi

serve() {
    rm -rf "$folder"
    mkdir -p "$folder"
    local settings=()
    [[ $STORE != minio ]] || empty_bucket
    if [[ $STORE == minio || $STORE == narrow ]]; then
        read -r -a settings < <(s3_settings "$store")
    fi
    start_gatehouse gatehouse "${ports[2]}" GATEHOUSE__TELEMETRY__LOG=warn "${settings[@]}" \
        GATEHOUSE__STORAGE__LOCAL__ROOT="$folder/objects" GATEHOUSE__DATABASE__URL="sqlite://$folder/gatehouse.db" \
        "${on_core[@]}"
}

clocked() {
    load overload -url "$url" -case overload -target "$1" -round "$round" -seconds "$seconds" -rate "$2" \
        -quiet-rate "$quiet_rate" -size "$size" -service-pid "${pid_of[gatehouse]}" -timeout 30s | tee -a "$lines"
}

open_results overload
case $STORE in
    minio) start_minio "$(data_folder 4096)" ;;
    narrow) start_standin -at-once 8 -takes 20ms ;;
esac
for ((round = 1; round <= rounds; round++)); do
    serve
    best=0
    for concurrency in 16 32 64; do
        rate=$(load gatehouse -raw -url "$url" -n "$count" -size "$size" -c "$concurrency" -strict | jq .uploads_per_s)
        best=$(jq -n "[$best, $rate] | max")
    done
    calm=$(clocked calm 0)
    twice=$(clocked twice "$(jq -n "$best * 2")")
    jq -cn --argjson best "$best" --argjson calm "$calm" --argjson twice "$twice" \
        '{round: $twice.round, best_per_s: $best, stored_of_best: ($twice.busy_ok_per_s / $best),
          refused: $twice.busy_refused, refused_with_retry_after: $twice.busy_refused_with_retry_after,
          outcomes: $twice.busy_outcomes, calm_p99_ms: $calm.quiet_p99_ms, quiet_p99_ms: $twice.quiet_p99_ms,
          quiet_p99_of_calm: ($twice.quiet_p99_ms / $calm.quiet_p99_ms)}' | tee -a "$work/summary" >&2
    stop gatehouse
done

{
    machine
    echo "uploads of $size bytes, store $STORE, cores ${CORES:-shared}, $seconds s a run, $rounds rounds; medians (least–most)"
    for what in best_per_s stored_of_best calm_p99_ms quiet_p99_ms quiet_p99_of_calm; do
        jq -rs --arg what "$what" '[.[][$what]] | sort | "\($what): \(.[length / 2 | floor]) (\(.[0])–\(.[-1]))"' "$work/summary"
    done
} | tee "$page"
