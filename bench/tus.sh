#!/usr/bin/env bash
# Uploads by tus, each a POST and one PATCH, through gatehouse and through tusd into the same MinIO: throughput,
# CPU, memory, and what of the uploads is put on a disk on the way. See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

cases=${CASES:-images huge}
read -r -a targets <<<"${TARGETS:-gatehouse tusd}"
images=${COUNT:-100} image_size=5000000 huge_size=$((1 << 30))
if [[ -n $quick ]]; then rounds=2 images=16 huge_size=$((64 << 20)); fi

service_of() { echo "$1"; }

# serve TARGET: starts it in front of $store, with a folder of its own for temporary files.
serve() {
    local settings temp=$work/$1/tmp
    mkdir -p "$temp"
    read -r -a settings < <(s3_settings "$store")
    case $1 in
        gatehouse)
            start_gatehouse "$1" "${ports[2]}" TMPDIR="$temp" \
                GATEHOUSE__CONSUMERS__IMAGES__MAX_FILE_SIZE=2GiB "${settings[@]}"
            ;;
        tusd)
            start "$1" "$work/$1" env TMPDIR="$temp" "$cache/tusd" -host 127.0.0.1 -port "${ports[3]}" \
                -s3-bucket $bucket -s3-endpoint "$store"
            await "$1" "http://127.0.0.1:${ports[3]}/metrics"
            ;;
        *) die "no such target: $1" ;;
    esac
}

# send TARGET FLAGS...: one run of uploads; prints its line of results.
send() {
    local target=$1 at
    shift
    case $target in
        gatehouse) at=(-url "http://127.0.0.1:${ports[2]}/consumer-api/service/consumers/customer-images/tus/" -customers) ;;
        tusd) at=(-url "http://127.0.0.1:${ports[3]}/files/") ;;
    esac
    load tus -patch "${at[@]}" -service-pid "${pid_of[$target]}" -temp "$work/$target/tmp" "$@"
}

build_load
need_minio
[[ " ${targets[*]} " != *" gatehouse "* ]] || need_gatehouse
if [[ " ${targets[*]} " == *" tusd "* ]]; then
    need_tusd
    notes+=("tusd $(go version -m "$cache/tusd" | awk '$2 == "github.com/tus/tusd/v2" { print $3 }')")
fi
open_results tus
start_minio "$(data_folder 2048)"
for case in $cases; do
    case $case in
        images) compare "$images × 5 MB, 8 at a time" "$images" "$image_size" 8 "${targets[@]}" ;;
        huge) compare "1 × $((huge_size >> 20)) MiB" 1 "$huge_size" 1 "${targets[@]}" ;;
        *) die "no such case: $case" ;;
    esac
done
close_results
