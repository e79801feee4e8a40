#!/usr/bin/env bash
# A 12-megapixel JPEG to its variant of 320 pixels, WebP at quality 80: the imaging module beside
# vipsthumbnail, one thread each. CPU time of many images in one process less that of one image,
# so that neither's start counts; interleaved rounds.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

need vipsthumbnail jq
count=${COUNT:-40}
if [[ -n $quick ]]; then count=2 rounds=1; fi

variants=${VARIANTS_BIN:-}
if [[ -z $variants ]]; then
    say "building benches/variants.rs"
    variants=$(build_variants)
fi

mkdir -p "$memory/in" "$memory/out"
"$variants" photograph "$memory/in/0.jpg"
for ((i = 1; i <= count; i++)); do ln "$memory/in/0.jpg" "$memory/in/$i.jpg"; done

# make TARGET FILE...
make() {
    local target=$1
    shift
    case $target in
        gatehouse) "$variants" render "$memory/out" "$@" ;;
        vips) VIPS_CONCURRENCY=1 vipsthumbnail --size 320x -o "$memory/out/%s-vips.webp[Q=80]" "$@" ;;
    esac
}

# cpu TARGET FILE...: user and system time in ms; what the target prints goes to $work/printed.
cpu() {
    local TIMEFORMAT='%U %S'
    { time make "$@" >"$work/printed"; } 2>&1 | awk '{ printf "%d\n", ($1 + $2) * 1000 }'
}

open_results variants
targets=(gatehouse vips)
for ((round = 1; round <= rounds; round++)); do
    for target in $(rotated "$round" "${targets[@]}"); do
        one=$(cpu "$target" "$memory/in/0.jpg")
        many=$(cpu "$target" "$memory"/in/*.jpg)
        peak=null
        [[ $target != gatehouse ]] || peak=$(<"$work/printed")
        jq -nc --arg target "$target" --argjson round "$round" --argjson peak "$peak" \
            --argjson ms "$(awk "BEGIN { print ($many - $one) / $count }")" \
            '{case: "variants", target: $target, round: $round, cpu_ms: $ms, peak_kib: $peak}' |
            tee -a "$lines" >&2
    done
done

{
    machine
    vipsthumbnail --vips-version 2>/dev/null || vips --version
    echo "$count images of $(stat -c %s "$memory/in/0.jpg") bytes a run, $rounds rounds"
    echo
    echo '| | CPU ms an image | peak MiB | bytes |'
    echo '| --- | --- | --- | --- |'
    for target in "${targets[@]}"; do
        file=$memory/out/0.webp
        [[ $target == gatehouse ]] || file=$memory/out/0-vips.webp
        jq -rs --arg target "$target" --arg bytes "$(stat -c %s "$file")" '
            map(select(.target == $target)) | (map(.cpu_ms) | sort) as $ms | (map(.peak_kib) | max) as $peak
            | "| \($target) | \($ms[length / 2 | floor]) (\($ms[0])–\($ms[-1])) | \(if $peak then $peak / 1024 | floor else "" end) | \($bytes) |"
        ' "$lines"
    done
    jq -rs '
        [group_by(.round)[] | (map(select(.target == "gatehouse"))[0].cpu_ms)
            / (map(select(.target == "vips"))[0].cpu_ms)] | sort
        | "\nCPU ÷ vipsthumbnail, within a round: \(.[length / 2 | floor]) (\(.[0])–\(.[-1]))"
    ' "$lines"
} | tee "$page"
