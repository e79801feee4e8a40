#!/usr/bin/env bash
# Small GETs and 1 MiB POSTs through gatehouse and through other proxies (peers.sh), to one
# fast upstream each. See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=bench/peers.sh
source "$bench/peers.sh"

cases=${CASES:-small post}
read -r -a targets <<<"${TARGETS:-gatehouse gatehouse-warn gatehouse-limit gatehouse-jwt gatehouse-traces nginx nginx-log haproxy caddy envoy upstream}"
workers=${WORKERS:-2}
seconds=${DURATION:-10}
[[ -z $quick ]] || rounds=2 seconds=1

port_of() {
    case $1 in
        gatehouse) echo "${ports[2]}" ;;
        gatehouse-warn) echo "${ports[3]}" ;;
        nginx) echo "${ports[4]}" ;;
        nginx-log) echo "${ports[5]}" ;;
        haproxy) echo "${ports[6]}" ;;
        caddy) echo "${ports[7]}" ;;
        envoy) echo "${ports[8]}" ;;
        gatehouse-limit) echo "${ports[9]}" ;;
        gatehouse-jwt) echo "${ports[10]}" ;;
        gatehouse-traces) echo "${ports[11]}" ;;
    esac
}

# limits: of the rate, so wide that nothing is refused.
limits() {
    printf '[rate_limits]\nenabled = true\nremote = { per_second = 1000000, burst = 1000000 }\n'
}

# credentials FOLDER: the settings of an issuer whose key is put there; sets $token, signed by it.
credentials() {
    local claims
    openssl genrsa -out "$1/issuer.key" 2048 2>/dev/null
    openssl rsa -in "$1/issuer.key" -pubout -out "$1/issuer.pem" 2>/dev/null
    claims="{\"iss\":\"https://issuer.test\",\"aud\":\"gatehouse\",\"sub\":\"wrk\",\"tenant_id\":\"bench\",\"exp\":$(($(date +%s) + 86400))}"
    token=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url).$(printf '%s' "$claims" | base64url)
    token+=.$(printf '%s' "$token" | openssl dgst -sha256 -sign "$1/issuer.key" -binary | base64url)
    printf '[auth]\nmode = "required"\n[auth.jwt]\nalgorithms = ["RS256"]\npublic_key_file = "issuer.pem"\n'
    printf 'issuer = "https://issuer.test"\naudience = "gatehouse"\ntenant_claim = "tenant_id"\n'
}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d =; }

# Keeps those targets that can run here.
choose() {
    local target chosen=()
    for target in "${targets[@]}"; do
        case $target in
            gatehouse | gatehouse-warn | gatehouse-limit | gatehouse-traces) need_gatehouse ;;
            gatehouse-jwt) need_gatehouse && need openssl ;;
            nginx | nginx-log | haproxy | caddy | envoy) find_peer "$target" || continue ;;
            upstream) ;;
            *) die "no such target: $target" ;;
        esac
        chosen+=("$target")
    done
    targets=("${chosen[@]}")
}

serve() {
    local port settings
    port=$(port_of "$1")
    case $1 in
        upstream) ;; # both run already
        nginx) start_nginx_proxy "$1" "$port" off ;;
        nginx-log) start_nginx_proxy "$1" "$port" /dev/null ;;
        haproxy) start_haproxy "$1" "$port" ;;
        caddy) start_caddy "$1" "$port" ;;
        envoy) start_envoy "$1" "$port" ;;
        gatehouse*)
            mkdir -p "$work/$1"
            printf '[services.%s]\nurl = "http://%s"\n' small "$small_upstream" post "$post_upstream" \
                >"$work/$1/settings.toml"
            [[ $1 != gatehouse-limit && $1 != gatehouse-jwt ]] || limits >>"$work/$1/settings.toml"
            [[ $1 != gatehouse-jwt ]] || credentials "$work/$1" >>"$work/$1/settings.toml"
            settings=(GATEHOUSE__SERVER__WORKERS="$workers")
            [[ $1 != gatehouse-warn ]] || settings+=(GATEHOUSE__TELEMETRY__LOG=warn)
            # The sink takes whatever it is sent.
            [[ $1 != gatehouse-traces ]] || settings+=(GATEHOUSE__TELEMETRY__OTLP_ENDPOINT="http://$post_upstream/v1/traces")
            start_gatehouse "$1" "$port" "${settings[@]}"
            ;;
    esac
}

# hit TARGET CASE SECONDS FLAGS...: one run of a case; prints its line of results.
hit() {
    local target=$1 case=$2 time=$3 authorization='' connections=64 body=0 upstream=$small_upstream store=answers service url
    shift 3
    [[ $case == small ]] || connections=16 body=$((1 << 20)) upstream=$post_upstream store=sink
    service=$target url=http://127.0.0.1:$(port_of "$target")$prefix/$case/item
    [[ $target != upstream ]] || service=$store url=http://$upstream/item
    [[ $target != gatehouse-jwt ]] || authorization="Bearer $token"
    BODY_BYTES=$body AUTHORIZATION=$authorization load run -service-pid "${pid_of[$service]}" -store-pid "${pid_of[$store]}" "$@" \
        wrk --threads 2 --connections "$connections" --duration "${time}s" --timeout 10s \
        --script "$bench/wrk.lua" "$url"
}

# compare CASE NAME: interleaved rounds, after a warm-up in which every answer must be good.
compare() {
    local target round good='"answered":[1-9][0-9]*,"bad status":0,"connect, read or write error":0,"timeout":0'
    say "$2"
    for target in "${targets[@]}"; do
        hit "$target" "$1" 1 >"$work/warm-up"
        grep -q "$good" "$work/warm-up" ||
            { tail -n 20 "$work/$target.log" "$work/warm-up" >&2; die "$target does not answer each request with 200"; }
    done
    for ((round = 1; round <= rounds; round++)); do
        for target in $(rotated "$round" "${targets[@]}"); do
            sleep 1
            hit "$target" "$1" "$seconds" -case "$2" -target "$target" -round "$round" | tee -a "$lines" >&2
        done
    done
}

# remember: what each proxy took and holds, after all runs.
remember() {
    local target
    : >"$work/memory"
    for target in "${targets[@]}"; do
        [[ $target != upstream ]] || continue
        load memory -service-pid "${pid_of[$target]}" -runs "$lines" -case "memory, after all runs" \
            -target "$target" -round 1 | tee -a "$work/memory" >&2
    done
    cat "$work/memory" >>"$lines"
}

chosen() { [[ " $cases " == *" $1 "* ]]; }

build_load
need wrk
find_peer nginx || die "nginx is missing; on Debian: apt-get install nginx" # the upstream, too
choose
open_results proxy

small_upstream=127.0.0.1:${ports[0]} post_upstream=127.0.0.1:${ports[1]}
start_answers "${ports[0]}"
start sink "$work" "$work/load" sink -listen "$post_upstream"
await sink "http://$post_upstream/"
for target in "${targets[@]}"; do serve "$target"; done

! chosen small || compare small "100 byte GETs, 64 connections"
! chosen post || compare post "1 MiB POSTs, 16 connections"
remember
close_results
