# The proxies that proxy.sh compares, each with the same task: $workers threads or processes,
# /consumer-api/service/{small,post}/… to the upstream of that name with the prefix cut off,
# connections to it kept, no compression, no access log but nginx-log's. TCP_NODELAY is every
# one's default; all that is not set here is the default, too.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are those of proxy.sh and lib.sh

prefix=/consumer-api/service

# A program in the cache wins over Debian's, which is old; nginx and haproxy are in sbin.
peer_path=$cache:$PATH:/usr/sbin:/sbin

# find_peer TARGET: notes its version; false, and noted, if it is not here.
find_peer() {
    local program=${1%-log} version
    if ! PATH=$peer_path command -v "$program" >/dev/null; then
        notes+=("left out: $1, because $program is not here; bench/README.md says how to get it")
        say "${notes[-1]}"
        return 1
    fi
    case $program in
        nginx) version="nginx $(PATH=$peer_path nginx -v 2>&1 | sed 's|.*nginx/||')" ;;
        haproxy) version="HAProxy $(PATH=$peer_path haproxy -v | awk 'NR == 1 { print $3 }')" ;;
        caddy) version="Caddy $(caddy_version)" ;;
        envoy) version="Envoy $(PATH=$peer_path envoy --version | sed -n 's|.*version: [^/]*/\([^/]*\)/.*|\1|p')" ;;
    esac
    [[ " ${notes[*]} " == *" $version "* ]] || notes+=("$version")
}

# What `go install` has built knows its version only as a Go module.
caddy_version() {
    local version
    version=$(PATH=$peer_path caddy version | cut -d ' ' -f 1)
    [[ $version != unknown ]] ||
        version=$(go version -m "$(PATH=$peer_path command -v caddy)" | awk '$1 == "mod" { print $3 }')
    echo "$version"
}

# start_peer NAME PORT COMMAND...: from a folder of its own; ready once it answers /healthz.
start_peer() {
    local name=$1 port=$2
    shift 2
    start "$name" "$work/$name" env PATH="$peer_path" HOME="$work/$name" "$@"
    await "$name" "http://127.0.0.1:$port/healthz"
}

# start_nginx NAME PORT LOG BLOCKS...: an nginx of its own; LOG is access_log's value, the
# first block goes into the server, the others beside it.
start_nginx() {
    local name=$1 port=$2 log=$3 server=$4 folder=$work/$1
    shift 4
    mkdir -p "$folder"
    cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes $workers;
pid $folder/pid;
error_log $folder/error.log;
events { worker_connections 1024; }
http {
    access_log $log;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    keepalive_requests 100000000;
    $*
    server {
        listen 127.0.0.1:$port;
        location = /healthz { return 200; }
        $server
    }
}
CONF
    start_peer "$name" "$port" nginx -p "$folder" -c "$folder/nginx.conf"
}

# The upstream of the small answers.
start_answers() {
    start_nginx answers "$1" off "location / { default_type text/plain; return 200 \"$(printf '%0100d' 0)\"; }"
}

# The defaults of keepalive are no connection and 1,000 requests each.
start_nginx_proxy() {
    local location="proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_request_buffering off;"
    local upstream="keepalive 64; keepalive_requests 100000000;"
    start_nginx "$1" "$2" "$3" "client_max_body_size 0;
        location $prefix/small/ { proxy_pass http://small/; $location }
        location $prefix/post/ { proxy_pass http://post/; $location }" \
        "upstream small { server $small_upstream; $upstream }
    upstream post { server $post_upstream; $upstream }"
}

start_haproxy() {
    mkdir -p "$work/$1"
    cat >"$work/$1/haproxy.cfg" <<CONF
global
    nbthread $workers
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend bench
    bind 127.0.0.1:$2
    http-request return status 200 if { path /healthz }
    use_backend post if { path_beg $prefix/post/ }
    default_backend small
backend small
    http-request replace-path $prefix/small/(.*) /\\1
    server small $small_upstream
backend post
    http-request replace-path $prefix/post/(.*) /\\1
    server post $post_upstream
CONF
    start_peer "$1" "$2" haproxy -db -f "$work/$1/haproxy.cfg"
}

# By default Caddy asks the upstream for gzip, keeps 32 connections and listens for commands.
start_caddy() {
    local transport="transport http {
                keepalive_idle_conns_per_host 64
                compression off
            }"
    mkdir -p "$work/$1"
    cat >"$work/$1/Caddyfile" <<CONF
{
    admin off
    auto_https off
}
http://:$2 {
    bind 127.0.0.1
    respond /healthz 200
    handle_path $prefix/small/* {
        reverse_proxy $small_upstream {
            $transport
        }
    }
    handle_path $prefix/post/* {
        reverse_proxy $post_upstream {
            $transport
        }
    }
}
CONF
    start_peer "$1" "$2" env GOMAXPROCS="$workers" XDG_DATA_HOME="$work/$1" XDG_CONFIG_HOME="$work/$1" \
        caddy run --config "$work/$1/Caddyfile" --adapter caddyfile
}

# envoy_cluster NAME HOST:PORT: in JSON, which is YAML too.
envoy_cluster() {
    local address="{socket_address: {address: ${2%:*}, port_value: ${2#*:}}}"
    echo "{name: $1, type: STATIC, load_assignment: {cluster_name: $1," \
        "endpoints: [{lb_endpoints: [{endpoint: {address: $address}}]}]}}"
}

start_envoy() {
    local types=type.googleapis.com/envoy.extensions.filters
    mkdir -p "$work/$1"
    cat >"$work/$1/envoy.yaml" <<CONF
static_resources:
  clusters:
    - $(envoy_cluster small "$small_upstream")
    - $(envoy_cluster post "$post_upstream")
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: $2}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": $types.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: bench
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": $types.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: bench
                      domains: ["*"]
                      routes:
                        - match: {path: /healthz}
                          direct_response: {status: 200}
                        - match: {prefix: $prefix/small/}
                          route: {cluster: small, prefix_rewrite: /}
                        - match: {prefix: $prefix/post/}
                          route: {cluster: post, prefix_rewrite: /}
CONF
    start_peer "$1" "$2" envoy --config-path "$work/$1/envoy.yaml" --concurrency "$workers" \
        --disable-hot-restart --log-level error
}
