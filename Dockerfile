# An image of the node alone: the binary and what the system needs to trust TLS. See docs/operations.md.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p isomer-host --bin isomer

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home isomer
COPY --from=build /src/target/release/isomer /usr/local/bin/isomer
# The node refuses folders that are not its user's alone. They are here, and no volumes, so that an image made from this
# one can fill the cache; a named volume that is put over one of them begins with its owner and mode.
RUN install --directory --owner=isomer --group=isomer /home/isomer/.cache /home/isomer/.local /home/isomer/.local/state \
    && install --directory --owner=isomer --group=isomer --mode=0700 /home/isomer/.cache/isomer /home/isomer/.local/state/isomer
USER isomer
WORKDIR /home/isomer
# SIGTERM lets running calls finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["isomer"]
CMD ["start", "/services"]
