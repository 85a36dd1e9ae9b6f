# Two stages: the first builds, the second holds only the program and the orders shipped with it.
# Not part of what .ci/run checks: it needs a Docker daemon.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
COPY --from=build /src/target/release/sinkscope /usr/local/bin/sinkscope
COPY blocklists /etc/sinkscope/blocklists
WORKDIR /etc/sinkscope
# A container's loopback is its own: to be reached from outside it listens on all its addresses. Docker lets unprivileged
# users take any port inside a container.
ENV SINKSCOPE_LISTEN__UDP=0.0.0.0:5300 SINKSCOPE_LISTEN__TCP=0.0.0.0:5300
EXPOSE 5300/udp 5300/tcp
USER nobody
# By a query: there is no control API unless somebody wants one.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["/usr/local/bin/sinkscope", "health"]
# SIGTERM, which `docker stop` sends, answers what is under way and ends.
ENTRYPOINT ["/usr/local/bin/sinkscope"]
CMD ["serve"]
