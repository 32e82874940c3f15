# An image of the node alone: the binary and what the system needs to trust TLS. See docs/operations.md.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p isomer-host --bin isomer

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home isomer
COPY --from=build /src/target/release/isomer /usr/local/bin/isomer
USER isomer
WORKDIR /home/isomer
VOLUME /home/isomer/.cache/isomer
# SIGTERM lets running calls finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["isomer"]
CMD ["start", "/services"]
