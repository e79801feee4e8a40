#!/usr/bin/env bash
# Events a second that reach a receiver on this machine, from SQLite: `backlog`, what waited until a worker
# was there; `live`, as they happen, beside the uploads themselves; `none`, those uploads without a webhook.
# See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

need curl jq
cases=${CASES:-backlog live none}
events=${EVENTS:-10000} size=2000 at_once=32
if [[ -n $quick ]]; then events=300 rounds=1; fi

build_load
need_gatehouse
open_results webhooks
server=http://127.0.0.1:${ports[2]} receiver=127.0.0.1:${ports[3]}

# serve ENABLED: gatehouse, whose workers are or are not; what it had before it has still.
serve() {
    start_gatehouse gatehouse "${ports[2]}" GATEHOUSE__TELEMETRY__LOG=warn \
        GATEHOUSE__DATABASE__URL="sqlite://$work/gatehouse/gatehouse.db" \
        GATEHOUSE__WEBHOOKS__ALLOWED_NETWORKS=127.0.0.0/8 GATEHOUSE__CONSUMERS__WORKERS__ENABLED="$1"
}

# hook: has the tenant's events sent to the receiver.
hook() {
    curl -fsS -o "$work/hook.json" -H 'x-tenant-id: tenant-0' -H 'content-type: application/json' \
        -d "{\"url\":\"http://$receiver/\"}" "$server/consumer-api/service/consumers/customer-images/webhooks"
}

# receive: a receiver that ends once all have come, in the background; sets $receiving.
receive() {
    load hooks -listen "$receiver" -n "$events" >"$work/received" &
    receiving=$! pid_of[receiver]=$!
}

upload() {
    load gatehouse -raw -url "$server" -service-pid "${pid_of[gatehouse]}" -tenants 1 -strict \
        -n "$events" -size "$size" -c "$at_once" -case "$1" -target uploads -round "$2"
}

# ticks: the CPU time that gatehouse has used, in clock ticks.
ticks() { awk '{ print $14 + $15 }' "/proc/${pid_of[gatehouse]}/stat"; }

# run CASE ROUND: prints its line.
run() {
    local uploaded='{}' received='{}' cpu=0
    rm -rf "$work/gatehouse"
    case $1 in
        backlog)
            serve false
            hook
            uploaded=$(upload "$@")
            stop gatehouse
            receive
            serve true
            wait "$receiving" && unset 'pid_of[receiver]'
            cpu=$(ticks) received=$(<"$work/received")
            ;;
        live)
            serve true
            hook
            receive
            uploaded=$(upload "$@")
            wait "$receiving" && unset 'pid_of[receiver]'
            received=$(<"$work/received")
            ;;
        none)
            serve true
            uploaded=$(upload "$@")
            ;;
    esac
    stop gatehouse
    jq -nc --arg case "$1" --argjson round "$2" --argjson uploaded "$uploaded" --argjson received "$received" \
        --argjson cpu "$(awk "BEGIN { print $cpu / $(getconf CLK_TCK) }")" \
        '{case: $case, round: $round, events: $received, uploads: $uploaded, cpu_seconds: $cpu}'
}

read -r -a chosen <<<"$cases"
for ((round = 1; round <= rounds; round++)); do
    for case in $(rotated "$round" "${chosen[@]}"); do
        run "$case" "$round" | tee -a "$lines" >&2
    done
done

{
    machine
    echo "$events events a run, $rounds rounds; images of $size bytes, $at_once uploads at a time"
    echo
    echo '| | events a second | CPU µs an event | seconds of uploads |'
    echo '| --- | --- | --- | --- |'
    for case in "${chosen[@]}"; do
        jq -rs --arg case "$case" --argjson n "$events" '
            def median: sort | .[length / 2 | floor];
            map(select(.case == $case)) as $runs
            | ($runs | map(.events.per_second // empty)) as $rates
            | ($runs | map(.cpu_seconds) | median) as $cpu
            | "| \($case) | \(if $rates == [] then "" else "\($rates | median | floor) (\($rates | min | floor)–\($rates | max | floor))" end)"
              + " | \(if $cpu > 0 then $cpu / $n * 1e6 | floor else "" end)"
              + " | \($runs | map(.uploads.seconds) | median) |"
        ' "$lines"
    done
} | tee "$page"
