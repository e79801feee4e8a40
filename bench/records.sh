#!/usr/bin/env bash
# A million records, in SQLite and in Postgres: what a page far down costs beside the first one, what
# a look-up takes, that the indexes are used; and how many uploads a second are recorded durably,
# beside what the disk can do. See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

cases=${CASES:-sqlite postgres}
records=${RECORDS:-1000000}
requests=1000 uploads=10000 syncs=2000 at_once=64
if [[ -n $quick ]]; then records=20000 requests=50 uploads=500 syncs=200; fi
limit=100
far=$((records / limit))

# --- the databases -------------------------------------------------------------------

# start_postgres: an empty one in $work; sets $postgres_url.
start_postgres() {
    local bin data=$work/postgres as=()
    bin=$(dirname "$(command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")
    [[ -x $bin/postgres ]] || die "Postgres is missing; on Debian: apt-get install postgresql"
    mkdir -p "$data"
    if ((EUID == 0)); then
        # It refuses to run as root.
        chmod a+x "$work"
        chown postgres "$data"
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    fi
    (cd "$data" && "${as[@]}" "$bin/initdb" -D "$data/data" -U postgres -A trust -E UTF8 --locale=C --no-sync) >/dev/null
    start postgres "$data" "${as[@]}" "$bin/postgres" -D "$data/data" -c listen_addresses=127.0.0.1 \
        -c "port=${ports[3]}" -c unix_socket_directories=
    postgres_url=postgres://postgres@127.0.0.1:${ports[3]}/postgres
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        ! psql -qc 'SELECT 1' "$postgres_url" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    die "Postgres does not answer: $(tail -n 5 "$work/postgres.log")"
}

# sql CASE: runs standard input in that case's database.
sql() {
    case $1 in
        sqlite) sqlite3 -bail "$work/gatehouse.db" ;;
        postgres) psql -qAt -v ON_ERROR_STOP=1 "$postgres_url" ;;
    esac
}

url_of() {
    case $1 in
        sqlite) echo "sqlite://$work/gatehouse.db" ;;
        postgres) echo "$postgres_url" ;;
    esac
}

columns='id, tenant, customer, stored_name, display_name, content_type, size, sha256, width, height,
    object_etag, upload, version, created_at, updated_at'

# fill CASE: one tenant's records, two made in each millisecond, and a quarter as many of others.
fill() {
    local all=$((records + records / 4)) hex64 hex32 hex12 series
    case $1 in
        sqlite)
            series="(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $all) SELECT i FROM n)"
            hex64="printf('%064x', i)" hex32="printf('%032x', i)" hex12="printf('%012x', i)"
            ;;
        postgres)
            series="(SELECT generate_series(1, $all) AS i)"
            hex64="lpad(to_hex(i), 64, '0')" hex32="lpad(to_hex(i), 32, '0')" hex12="lpad(to_hex(i), 12, '0')"
            ;;
    esac
    sql "$1" <<SQL
INSERT INTO images ($columns)
SELECT '01900000-0000-7000-8000-' || $hex12, tenant, 'c' || (i % 1000),
    tenant || '/customer/c' || (i % 1000) || '/' || i || '.jpg', i || '.jpg', 'image/jpeg', 1000 + i % 50000,
    $hex64, 1200, 800, $hex32, '01900000-0000-7000-9000-' || $hex12, 1, 1700000000000 + i / 2, 1700000000000 + i / 2
FROM (SELECT i, CASE WHEN i % 5 = 0 THEN 'other-' || (i % 100) ELSE 'bench' END AS tenant FROM $series AS n) AS rows;
INSERT INTO usage (tenant, bytes, images) SELECT tenant, SUM(size), COUNT(*) FROM images GROUP BY tenant;
ANALYZE;
SQL
}

# explain CASE: fails unless the list's and the look-up's queries go through an index.
explain() {
    local how='EXPLAIN' name plan
    [[ $1 != sqlite ]] || how='EXPLAIN QUERY PLAN'
    local after="(1700000000000 + $records / 2, '01900000-0000-7000-8000-000000000000')"
    local order="ORDER BY created_at DESC, id DESC LIMIT $limit"
    declare -A queries=(
        [images_newest]="tenant = 'bench' AND (created_at, id) < $after $order"
        [images_newest_of_customer]="tenant = 'bench' AND (created_at, id) < $after AND customer = 'c7' $order"
        [id]="id = '01900000-0000-7000-8000-000000000001' AND tenant = 'bench'"
        [stored_name]="stored_name = 'bench/customer/c1/1.jpg'"
    )
    for name in "${!queries[@]}"; do
        plan=$(sql "$1" <<<"$how SELECT * FROM images WHERE ${queries[$name]};")
        case $name in
            images_*) grep -qE "(USING INDEX|Index Scan using) $name\b" <<<"$plan" || die "$1 does not use $name: $plan" ;;
            *) grep -qE 'USING INDEX|Index Scan using' <<<"$plan" || die "$1 looks up $name without an index: $plan" ;;
        esac
        ! grep -qiE 'SCAN images|Seq Scan|TEMP B-TREE|\bSort\b' <<<"$plan" || die "$1 scans or sorts: $plan"
    done
}

# --- the measurements ----------------------------------------------------------------

# note CASE WHAT JSON: a line of results.
note() {
    printf '%s\n' "{\"case\": \"$1\", \"what\": \"$2\", \"result\": $3}" | tee -a "$lines" >&2
}

# reads CASE: pages and look-ups against all records.
reads() {
    say "$1: filling in $records records"
    GATEHOUSE__DATABASE__URL=$(url_of "$1") "$gatehouse" migrate >/dev/null
    fill "$1"
    explain "$1"
    start_gatehouse gatehouse "${ports[2]}" GATEHOUSE__DATABASE__URL="$(url_of "$1")"
    note "$1" "$records records" "$(load records -url "http://127.0.0.1:${ports[2]}" -limit $limit -page "$far" -n $requests)"
    stop gatehouse
}

# writes CASE: uploads whose bytes a store forgets at once, so that what is durable is the record.
writes() {
    local settings
    read -r -a settings < <(s3_settings "$store")
    note "$1" "fsync alone" "$(load fsync -folder "$work" -n $syncs)"
    start_gatehouse gatehouse "${ports[2]}" GATEHOUSE__DATABASE__URL="$(url_of "$1")" "${settings[@]}"
    local at
    for at in 1 $at_once; do
        note "$1" "uploads, $at at a time" "$(load gatehouse -url "http://127.0.0.1:${ports[2]}" -strict \
            -service-pid "${pid_of[gatehouse]}" -n $((uploads * at / at_once + 100)) -size 1000 -c "$at")"
    done
    note "$1" "fsync alone" "$(load fsync -folder "$work" -n $syncs)"
    stop gatehouse
}

build_load
need_gatehouse
need sqlite3 psql
! grep -qa GATEHOUSE_FAULT "$gatehouse" || say "this is a debug build: its figures mean nothing"
open_results records
start_standin
for case in $cases; do
    [[ $case != postgres ]] || start_postgres
    reads "$case"
    writes "$case"
done
{
    machine
    cat "$lines"
} >"$page"
say "wrote $page and $lines"
