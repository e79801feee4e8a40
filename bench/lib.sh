# Shared by the benchmark scripts: where things are, starting and stopping, results.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts use what looks unused here

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$bench")
cache=${GATEHOUSE_CACHE:-$HOME/.cache/gatehouse}/bin
gatehouse=${GATEHOUSE_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/gatehouse}
results=$(realpath -m "${BENCH_RESULTS:-$bench/results}")
rounds=${ROUNDS:-5}
quick=${QUICK:-}

minio_version=v0.0.0-20260212201848-7aac2a2c5b7c

# Binaries, logs and the services' working folders; and the store's data, in memory where
# the system has such a folder.
work=$(mktemp -d "${TMPDIR:-/tmp}/gatehouse-bench.XXXXXX")
memory=$work
if [[ -d /dev/shm && -w /dev/shm ]]; then
    memory=$(mktemp -d /dev/shm/gatehouse-bench.XXXXXX)
fi

export AWS_ACCESS_KEY_ID=benchmark AWS_SECRET_ACCESS_KEY=benchmark-secret AWS_REGION=us-east-1
export AWS_EC2_METADATA_DISABLED=true
bucket=bench

say() { printf '%s\n' "$*" >&2; }
die() { say "bench: $*"; exit 1; }

# --- processes -----------------------------------------------------------------------

declare -A pid_of=()

# start NAME FOLDER COMMAND...: runs it there in the background; its standard output is
# thrown away, its standard error kept to show if it fails.
start() {
    local name=$1 folder=$2
    shift 2
    mkdir -p "$folder"
    (cd "$folder" && exec "$@") >/dev/null 2>"$work/$name.log" &
    pid_of[$name]=$!
}

# await NAME URL: until it answers 200.
await() {
    if ! load wait -timeout 30s -url "$2"; then
        tail -n 20 "$work/$1.log" >&2
        die "$1 did not start"
    fi
}

stop() {
    local pid=${pid_of[$1]:-}
    [[ -n $pid ]] || return 0
    unset "pid_of[$1]"
    kill "$pid" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

clean_up() {
    local name
    for name in "${!pid_of[@]}"; do stop "$name"; done
    rm -rf "$work" "$memory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- programs ------------------------------------------------------------------------

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || die "$program is missing; on Debian: apt-get install $program"
    done
}

load() { "$work/load" "$@"; }

build_load() {
    command -v go >/dev/null || die "Go is missing: see bench/README.md"
    go build -C "$bench/load" -o "$work/load" .
    go build -C "$bench/standin" -o "$work/standin" .
    mapfile -t ports < <(load ports 12)
}

# build_variants: benches/variants.rs; prints where its program is.
build_variants() {
    cd "$root" && cargo bench --locked --bench variants --no-run --message-format=json |
        jq -r 'select(.executable != null and .target.name == "variants") | .executable'
}

need_gatehouse() {
    [[ -x $gatehouse ]] || die "no $gatehouse: run 'cargo build --release', or set GATEHOUSE_BIN"
    gatehouse=$(realpath "$gatehouse") # it is started from other folders
}

need_minio() {
    minio=$(command -v minio || echo "$cache/minio")
    [[ ! -x $minio ]] || return 0
    say "building MinIO once, into $cache (about 5 minutes)"
    GOBIN=$cache go install "github.com/minio/minio@$minio_version"
}

# tusd is optional: false if it cannot be built. Its version is pinned in bench/tusd.
need_tusd() {
    [[ ! -x $cache/tusd ]] || return 0
    say "building tusd once, into $cache (about 2 minutes)"
    go build -C "$bench/tusd" -o "$cache/tusd" github.com/tus/tusd/v2/cmd/tusd
}

# --- the store -----------------------------------------------------------------------

# start_minio FOLDER: an empty store there; sets $store and makes the bucket.
start_minio() {
    store=http://127.0.0.1:${ports[0]}
    minio_data=$1
    start minio "$work" env MINIO_ROOT_USER="$AWS_ACCESS_KEY_ID" MINIO_ROOT_PASSWORD="$AWS_SECRET_ACCESS_KEY" \
        MINIO_BROWSER=off MINIO_UPDATE=off "$minio" server --quiet \
        --address "127.0.0.1:${ports[0]}" --console-address "127.0.0.1:${ports[1]}" "$minio_data"
    await minio "$store/minio/health/ready"
    store_pid=${pid_of[minio]}
    load bucket -url "$store" -bucket $bucket
}

# start_standin [FLAG]...: a store that keeps nothing, in MinIO's place.
start_standin() {
    store=http://127.0.0.1:${ports[0]}
    start standin "$work" "$work/standin" -listen "127.0.0.1:${ports[0]}" "$@"
    await standin "$store/"
    store_pid=${pid_of[standin]}
}

# Empties the bucket. What is deleted MinIO moves into a trash folder, which it clears
# minutes later: it is cleared here, so that its memory is free and no run pays for it.
empty_bucket() {
    load bucket -url "$store" -bucket $bucket -reset
    empty_trash
}

empty_trash() { find "$minio_data/.minio.sys/tmp/.trash" -mindepth 1 -delete 2>/dev/null || true; }

# --- gatehouse -----------------------------------------------------------------------

# start_gatehouse NAME PORT [VARIABLE=VALUE]...: from a folder of its own, so that no
# settings.toml but one put there by the caller is read.
start_gatehouse() {
    local name=$1 port=$2
    shift 2
    start "$name" "$work/$name" env GATEHOUSE__SERVER__LISTEN="127.0.0.1:$port" \
        GATEHOUSE__STORAGE__LOCAL__ROOT="$work/$name/objects" "$@" "$gatehouse"
    await "$name" "http://127.0.0.1:$port/healthz"
}

# The variables that put gatehouse's images into the store at URL.
s3_settings() {
    echo "S3_BUCKET=$bucket" "AWS_ENDPOINT_URL_S3=$1"
}

# --- rounds --------------------------------------------------------------------------

# compare CASE COUNT SIZE CONCURRENCY TARGET...: interleaved rounds against $store. The script says how
# a target is served (serve TARGET), under which name (service_of TARGET) and what loads it (send TARGET FLAGS...).
compare() {
    local name=$1 count=$2 size=$3 concurrency=$4 target round
    local warm_up=$((count / 10 > concurrency ? count / 10 : concurrency))
    shift 4
    say "$name"
    for target in "$@"; do
        serve "$target"
        send "$target" -n "$warm_up" -size "$size" -c "$concurrency" -strict >"$work/warm-up" ||
            { cat "$work/warm-up" >&2; die "warming up $target failed"; }
    done
    for ((round = 1; round <= rounds; round++)); do
        for target in $(rotated "$round" "$@"); do
            settle
            send "$target" -case "$name" -target "$target" -round "$round" -store-pid "$store_pid" \
                -n "$count" -size "$size" -c "$concurrency" -strict | tee -a "$lines" >&2
        done
    done
    for target in "$@"; do stop "$(service_of "$target")"; done
    settle
}

# The quiet between two runs, with an empty bucket.
settle() {
    if [[ -n ${pid_of[minio]:-} ]]; then empty_bucket; fi
    sleep 1
}

# data_folder MIB: where the store's data go: in memory if that leaves as much again free.
data_folder() {
    if (($(available_mib "$memory") > 2 * $1)); then
        echo "$memory/minio"
    elif (($(available_mib "$work") > $1 + 2048)); then
        say "too little memory for a store in memory: it is on disk"
        echo "$work/minio"
    else
        die "$1 MiB for the store are neither in memory nor in ${work%/*}"
    fi
}

# --- results -------------------------------------------------------------------------

notes=() # lines for the head of the report: versions, what was left out

# open_results NAME: $lines takes the JSON lines, $page the report.
open_results() {
    mkdir -p "$results"
    lines=$results/$1-$(date -u +%Y%m%dT%H%M%SZ).jsonl
    page=${lines%.jsonl}.md
    : >"$lines"
}

# rotated ROUND ITEM...: the items, begun one further on each round, so that no target
# always comes first.
rotated() {
    local shift_by=$((($1 - 1) % ($# - 1)))
    shift
    printf '%s\n' "${@:shift_by+1}" "${@:1:shift_by}"
}

close_results() {
    {
        machine
        load report "$lines"
    } | tee "$page"
    say "wrote $page and $lines"
}

# What the figures were measured on.
machine() {
    local processor memory_kib
    processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    echo "$(date -u +%F), $(nproc) cores of ${processor:-unknown}, $((memory_kib / 1024 / 1024)) GiB, Linux $(uname -r)"
    [[ ! -x $gatehouse ]] || "$gatehouse" --version
    git -C "$root" log -1 --format='commit %h' 2>/dev/null || true
    ((${#notes[@]} == 0)) || printf '%s\n' "${notes[@]}"
    echo
}

# available_mib FOLDER: what may still be written there; in memory, what may be used.
available_mib() {
    if [[ $1 == /dev/shm/* ]]; then
        sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo | awk '{ print int($1 / 1024) }'
    else
        df -Pm "$1" | awk 'NR == 2 { print $4 }'
    fi
}
