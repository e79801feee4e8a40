#!/usr/bin/env bash
# Uploads while variants are made: the latency of 100 KB uploads beside a backlog of 12-megapixel JPEGs, each
# of which is made a 320-pixel WebP, and beside the same backlog that nobody works on. Local store and
# SQLite in memory, so that no disk hides what the cores do; interleaved rounds.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

need curl jq
need_gatehouse
build_load
backlog=${BACKLOG:-300} count=${COUNT:-1000} concurrency=${CONCURRENCY:-2}
if [[ -n $quick ]]; then backlog=20 count=20 rounds=1; fi

photo=${PHOTO:-}
if [[ -z $photo ]]; then
    say "building benches/variants.rs, for its photograph; PHOTO takes any"
    variants=$(build_variants)
    photo=$memory/photo.jpg
    "$variants" photograph "$photo"
fi

folder=$memory/server url=http://127.0.0.1:${ports[2]}
settings=(
    GATEHOUSE__STORAGE__LOCAL__ROOT="$folder/objects" GATEHOUSE__DATABASE__URL="sqlite://$folder/gatehouse.db"
    GATEHOUSE__CONSUMERS__STEPS__THUMB__WIDTH=320 GATEHOUSE__TELEMETRY__LOG=warn
)

# serve WORKERS: a server that works on the backlog, or does not.
serve() { start_gatehouse gatehouse "${ports[2]}" "${settings[@]}" GATEHOUSE__CONSUMERS__WORKERS__ENABLED="$1"; }

# waiting: how many images nobody has worked on yet.
waiting() { env "${settings[@]}" "$gatehouse" jobs list --json --limit 100000 | jq -s 'flatten | length'; }

# fill: an empty server with the backlog.
fill() {
    rm -rf "$folder"
    mkdir -p "$folder"
    serve false
    local i
    for ((i = 0; i < backlog; i++)); do
        printf 'url = "%s/consumer-api/service/consumers/customer-images/upload/1/%s.jpg"\nupload-file = "%s"\noutput = /dev/null\n' \
            "$url" "$i" "$photo"
    done >"$work/curl"
    curl -sf -H 'x-tenant-id: photos' --config "$work/curl"
    stop gatehouse
}

open_results beside
for ((round = 1; round <= rounds; round++)); do
    for target in $(rotated "$round" idle making); do
        fill
        if [[ $target == making ]]; then serve true; else serve false; fi
        load gatehouse -url "$url" -case beside -target "$target" -round "$round" -n "$count" -size 100000 \
            -c "$concurrency" -strict | tee -a "$lines" >&2
        (($(waiting) > count)) || die "the backlog was done before the uploads: raise BACKLOG"
        stop gatehouse
    done
done

{
    machine
    echo "$count uploads of 100 KB a run, $concurrency at a time; a backlog of $backlog images of $(stat -c %s "$photo") bytes; $rounds rounds"
    echo
    echo '| backlog | p50 ms | p99 ms |'
    echo '| --- | --- | --- |'
    for target in idle making; do
        jq -rs --arg target "$target" '
            map(select(.target == $target)) | (map(.p50_ms) | sort) as $p50 | (map(.p99_ms) | sort) as $p99
            | "| \($target) | \($p50[length / 2 | floor]) (\($p50[0])–\($p50[-1])) | \($p99[length / 2 | floor]) (\($p99[0])–\($p99[-1])) |"
        ' "$lines"
    done
    jq -rs '
        [group_by(.round)[] | (map(select(.target == "making"))[0].p99_ms) / (map(select(.target == "idle"))[0].p99_ms)]
        | sort | "\np99 while variants are made ÷ without, within a round: \(.[length / 2 | floor]) (\(.[0])–\(.[-1]))"
    ' "$lines"
} | tee "$page"
