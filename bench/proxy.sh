#!/usr/bin/env bash
# Small GETs through gatehouse and through nginx to one fast upstream. See bench/README.md.
set -euo pipefail
# shellcheck source=bench/lib.sh
source "$(dirname "$0")/lib.sh"

targets=${TARGETS:-gatehouse gatehouse-warn nginx nginx-log upstream}
workers=${WORKERS:-2}
connections=64
seconds=10
[[ -z $quick ]] || rounds=2 seconds=2
path=/consumer-api/service/bench/small

# nginx_on NAME PORT BLOCKS LOG: an nginx of its own with these location blocks.
nginx_on() {
    local folder=$work/$1
    mkdir -p "$folder"
    cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes $workers;
pid $folder/pid;
error_log $folder/error.log;
events { worker_connections 1024; }
http {
    access_log $4;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    keepalive_requests 100000000;
    upstream fast {
        server 127.0.0.1:${ports[0]};
        keepalive $connections;
        keepalive_requests 100000000;
    }
    server {
        listen 127.0.0.1:$2;
        location = /healthz { return 200; }
        $3
    }
}
CONF
    start "$1" "$folder" "$nginx" -p "$folder" -c "$folder/nginx.conf"
    await "$1" "http://127.0.0.1:$2/healthz"
}

proxy_block="location /consumer-api/service/bench/ {
            proxy_pass http://fast/;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
        }"

port_of() {
    case $1 in
        upstream) echo "${ports[0]}" ;;
        gatehouse) echo "${ports[1]}" ;;
        gatehouse-warn) echo "${ports[2]}" ;;
        nginx) echo "${ports[3]}" ;;
        nginx-log) echo "${ports[4]}" ;;
        *) die "no such target: $1" ;;
    esac
}

serve() {
    local port
    port=$(port_of "$1")
    case $1 in
        upstream) ;; # runs already
        nginx) nginx_on nginx "$port" "$proxy_block" off ;;
        nginx-log) nginx_on nginx-log "$port" "$proxy_block" /dev/null ;;
        gatehouse*)
            mkdir -p "$work/$1"
            printf '[services.bench]\nurl = "http://127.0.0.1:%s"\n' "${ports[0]}" >"$work/$1/settings.toml"
            local settings=(GATEHOUSE__SERVER__WORKERS="$workers")
            [[ $1 != gatehouse-warn ]] || settings+=(GATEHOUSE__TELEMETRY__LOG=warn)
            start_gatehouse "$1" "$port" "${settings[@]}"
            ;;
    esac
}

hit() {
    local target=$1 time=$2
    shift 2
    load run -service-pid "${pid_of[$target]}" -store-pid "${pid_of[upstream]}" "$@" \
        wrk --threads 2 --connections "$connections" --duration "${time}s" --timeout 10s \
        --script "$bench/wrk.lua" "http://127.0.0.1:$(port_of "$target")$path"
}

build_load
need wrk
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nginx
need nginx
nginx=$(command -v nginx)
[[ $targets != *gatehouse* ]] || need_gatehouse
read -r -a targets_list <<<"$targets"
open_results proxy

body=$(printf '%0100d' 0)
nginx_on upstream "${ports[0]}" "location / { default_type text/plain; return 200 \"$body\"; }" off
for target in "${targets_list[@]}"; do
    serve "$target"
    load wait -timeout 10s -url "http://127.0.0.1:$(port_of "$target")$path"
    hit "$target" 1 >/dev/null
done
for ((round = 1; round <= rounds; round++)); do
    for target in $(rotated "$round" "${targets_list[@]}"); do
        sleep 1
        hit "$target" "$seconds" -case "small GETs, $connections connections" -target "$target" -round "$round" |
            tee -a "$lines" >&2
    done
done

close_results
