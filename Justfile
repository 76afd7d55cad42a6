# What is done here, and how. Each recipe is short enough to be typed by hand where `just` is not installed.

# List the recipes.
default:
    @just --list --unsorted

# Three candidates on this machine, three handovers; ends with Ctrl-C.
demo:
    cargo run --example demo

# All tests.
test:
    cargo test --workspace --no-fail-fast

# Three real electors at a server that fails, for so many seconds, and a judge; a seed repeats what is done to them.
chaos seconds="60" seed="":
    CHAOS_SECONDS={{ seconds }} SEED={{ seed }} cargo test --test chaos -- --nocapture

# Run mode, so many handovers of each kind: do the commands of two candidates ever run at the same time? Words choose kinds.
handovers number="10" *kinds:
    HANDOVERS={{ number }} KINDS='{{ kinds }}' cargo test --test handovers -- --nocapture

# Against a real kube-apiserver and etcd, if KUBEBUILDER_ASSETS names a folder with both; words choose scenarios.
conformance *words:
    cargo test --test conformance -- {{ words }}

# In the pods of the cluster that the kubeconfig names, with IMAGE, an image of the elector that its nodes have.
e2e *words:
    cargo test --test e2e -- {{ words }}

# A cluster of one node on this machine, from the programs in KUBEBUILDER_ASSETS: `up`, `load IMAGE.tar`, `run COMMAND`, `down`.
cluster *command:
    .ci/cluster {{ command }}

# Formatting, clippy and the documentation, with warnings denied.
lint:
    .ci/run lint

# The state machine in a simulated world full of faults: without end, `--schedules=N`, or `--seed=N` with its trace.
simulate *args:
    cargo run --quiet --release --package simulation -- {{ args }}

# Every interleaving of small worlds.
exhaustive:
    cargo run --quiet --release --package simulation -- exhaustive

# Does the simulation find deliberate bugs? All of them, or those named.
mutants *names:
    cargo run --quiet --release --package simulation -- mutants {{ names }}

# Every state of a model of the protocol, within bounds.
model:
    cargo run --release --package model

# The binary that ships beside an elector that polls: failover, cost, start. `--svg=docs/handover.svg` draws it.
bench *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench handover -- {{ args }}

# What up to 1,000 candidates, and hundreds of elections, ask of an API server.
growth *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench growth -- {{ args }}

# The HTTP port of the binary that ships: its speed beside tiny_http's (needs wrk), `events`, and what a client notices of `attacks`.
bench-http *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench http -- {{ args }}

# Bytes of chance for the HTTP port, as long as one likes.
fuzz seconds="60":
    FUZZ_SECONDS={{ seconds }} FUZZ_SEED="$(date +%s)" cargo test --lib fuzz -- --nocapture

# Compare the API server of the tests with exchanges recorded from a real one, by the script that recorded them.
wire script recording:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --package apiserver
    coproc server { exec "${CARGO_TARGET_DIR:-target}/debug/apiserver" --listen=127.0.0.1:0 --tls \
        --token=admin=secret '--allow=admin:*:*' --token=legacy=legacytoken; }
    trap 'kill "$server_PID"' EXIT
    read -r url <&"${server[0]}"
    python3 '{{ script }}' compare "$url" secret '{{ recording }}'

# The licences, the bans and the sources of the dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources

# The static binary that ships, checked: static, and not too large.
musl:
    .ci/musl

# The image, by docker, podman or buildah, as a tag and as an archive.
image:
    .ci/image

# The image, run under chroot as its user; needs root.
image-check:
    .ci/image-check

# The manifests and what kustomize makes of them, against the schemas of Kubernetes.
manifests:
    .ci/manifests

# A release: binaries for six architectures or these, built twice, run under qemu; SBOM, image and checksums.
dist *architectures:
    .ci/dist {{ architectures }}

# All that is checked before a change lands.
ci:
    .ci/run
