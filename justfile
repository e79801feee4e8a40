# One-line commands (https://just.systems; `cargo install just`). Nothing needs them: each is what stands
# behind its name. What they install goes into a cache outside the checkout.

tools := env("GATEHOUSE_CACHE", home_directory() / ".cache/gatehouse") / "tools"
deny_version := "0.20.2"
cyclonedx_version := "0.5.9"

# List the commands
[private]
default:
    @just --list --unsorted

# Serve on 127.0.0.1:3000, keeping images in ./data; or run another command of gatehouse's
run *arguments:
    cargo run -- {{ arguments }}

# Serve from a MinIO, started again when a source or the settings change; Ctrl-C ends both
dev *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    source bench/lib.sh
    build_load && need_minio
    start_minio "$root/data/minio"
    export S3_BUCKET=$bucket AWS_ENDPOINT_URL_S3=$store
    say "MinIO is at $store, its files are in data/minio; the key is $AWS_ACCESS_KEY_ID, its secret $AWS_SECRET_ACCESS_KEY"
    watched=(src Cargo.toml)
    [[ ! -e settings.toml ]] || watched+=(settings.toml)
    if command -v watchexec >/dev/null; then
        watchexec --restart --stop-signal SIGTERM --stop-timeout 35s "${watched[@]/#/--watch=}" -- cargo run -- {{ arguments }}
    else
        say "for a new start at each change, install watchexec: cargo install watchexec-cli"
        cargo run -- {{ arguments }}
    fi

# Run the tests, or those of a name: just test uploads::
test *names:
    cargo test --locked --all-features {{ names }}

# Build what is distributed, with folders' names mapped away, see docs/security.md
release profile="release" *features="--features avif":
    #!/usr/bin/env bash
    set -euo pipefail
    # The names of these folders stand in messages of panics and assertions, and in paths of C sources.
    home=${CARGO_HOME:-$HOME/.cargo}
    for to in "$PWD=/gatehouse" "$home=/cargo"; do
        RUSTFLAGS+=" --remap-path-prefix=$to" CFLAGS+=" -ffile-prefix-map=$to" CXXFLAGS+=" -ffile-prefix-map=$to"
    done
    export RUSTFLAGS CFLAGS CXXFLAGS CARGO_INCREMENTAL=0
    cargo build --locked --bin gatehouse --target-dir target --profile {{ profile }} {{ features }}

# Format the sources
format:
    cargo fmt

# Run the linters
lint:
    .ci/run lint

# What has to pass before anything lands: the linters and the tests
ci:
    .ci/run

# Run a benchmark of bench/: just bench upload; with QUICK=1 to see whether it runs
bench name:
    cargo build --release --locked
    bench/{{ name }}.sh

# Look at licences, bans, sources, and today's advisories (these need a network)
deny *checks="licenses bans sources advisories": (tool "cargo-deny" deny_version)
    {{ tools }}/bin/cargo-deny --all-features --locked check {{ checks }}

# Take the advisories that the tests go by from a clone of github.com/rustsec/advisory-db
advisories clone:
    tests/supply_chain/advisories.py {{ clone }} > target/advisories.toml
    mv target/advisories.toml tests/supply_chain/advisories.toml

# Write the binary's bill of materials, CycloneDX 1.5, to target/gatehouse.cdx.json
sbom *features="--all-features": (tool "cargo-cyclonedx" cyclonedx_version)
    #!/usr/bin/env bash
    set -euo pipefail
    # Of what is locked: cyclonedx itself would take newer versions silently.
    cargo metadata --locked --format-version 1 >/dev/null
    export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    {{ tools }}/bin/cargo-cyclonedx cyclonedx --format json --spec-version 1.5 --describe binaries \
        --target "$(rustc -vV | sed -n 's/^host: //p')" {{ features }}
    # Which folder it was made in is nobody's business.
    mkdir -p target && sed "s|path+file://$PWD|path+file:///gatehouse|" gatehouse_bin.cdx.json >target/gatehouse.cdx.json
    rm gatehouse_bin.cdx.json
    echo "target/gatehouse.cdx.json"

# Install a tool into the cache, of exactly this version
[private]
tool name version:
    @grep -qs '^"{{ name }} {{ version }} ' {{ tools }}/.crates.toml || \
        cargo install --locked --root {{ tools }} {{ name }}@{{ version }}
