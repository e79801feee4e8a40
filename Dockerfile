# gatehouse in an image that holds the binary, the C library and the TLS roots: no shell, no
# package manager, no root. docs/docker.md tells how to build and run it.

# Arguments, so that a mirror or a pinned digest can stand in. The build image brings cargo, a C
# compiler and apt; the runtime image brings CA certificates, libgcc and a glibc that is not older.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /build

# For libjpeg-turbo, which is built from its crate's own sources: nasm for its SIMD.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake make nasm \
    && rm -rf /var/lib/apt/lists/*

# The dependencies, against stand-ins for the sources: a layer that is kept while only these
# change. The benches are not built; cargo only checks that those in the manifest exist.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --features avif

# Copied files keep their times, and cargo would take any older than the stand-ins for built.
COPY src src
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --features avif \
    && mkdir /empty

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="gatehouse" \
      org.opencontainers.image.description="An API gateway with tenant-scoped image uploads into S3, in one binary." \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

COPY LICENSE-* /licenses/
COPY --from=build /build/target/release/gatehouse /gatehouse

# The only folder that is written to. There is no shell to make it or to hand it over, so an
# empty one is copied in; a new named volume takes over its owner.
COPY --from=build --chown=65532:65532 /empty /data
VOLUME /data
ENV GATEHOUSE__STORAGE__LOCAL__ROOT=/data/objects \
    GATEHOUSE__DATABASE__URL=sqlite:///data/gatehouse.db

# Settings are read from /settings.toml, if one is mounted there, and from the environment.
WORKDIR /

# A number, so that an orchestrator can tell that it is not root.
USER 65532:65532

# The address stays 127.0.0.1:3000 until the settings say otherwise: whoever opens open mode to
# the network says so.
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=7s --start-period=5s --retries=3 CMD ["/gatehouse", "healthcheck"]
ENTRYPOINT ["/gatehouse"]
