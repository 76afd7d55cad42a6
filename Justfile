# The commands that contributors use. Without `just`, type them by hand.

# List the recipes.
default:
    @just --list --unsorted

# Run three candidates on this machine and show three handovers; Ctrl-C ends it.
demo:
    cargo run --example demo

# Run all tests.
test:
    cargo test --workspace --no-fail-fast

# Pause, kill and cut off three real electors at random, and check the contract. A seed repeats the faults.
chaos seconds="60" seed="":
    CHAOS_SECONDS={{ seconds }} SEED={{ seed }} cargo test --test chaos -- --nocapture

# Check in run mode that the commands of two candidates never run at the same time. `kinds` selects kinds of handover.
handovers number="10" *kinds:
    HANDOVERS={{ number }} KINDS='{{ kinds }}' cargo test --test handovers -- --nocapture

# Run scenarios against a real kube-apiserver and etcd, if KUBEBUILDER_ASSETS names a directory with both.
conformance *words:
    cargo test --test conformance -- {{ words }}

# Run scenarios in pods of the current kubeconfig's cluster. IMAGE names an image of the elector that its nodes have.
e2e *words:
    cargo test --test e2e -- {{ words }}

# Manage a cluster of one node on this machine, made of the programs in KUBEBUILDER_ASSETS: `up`, `load IMAGE.tar`,
# `run COMMAND`, `down`.
cluster *command:
    .ci/cluster {{ command }}

# Check formatting, clippy and the documentation, with warnings denied.
lint:
    .ci/run lint

# Simulate the state machine with random faults: endlessly, `--schedules=N` times, or `--seed=N` once with a trace.
simulate *args:
    cargo run --quiet --release --package simulation -- {{ args }}

# Try every interleaving of events in small simulated configurations.
exhaustive:
    cargo run --quiet --release --package simulation -- exhaustive

# Check that the simulation finds deliberate bugs: all of them, or those that are named.
mutants *names:
    cargo run --quiet --release --package simulation -- mutants {{ names }}

# Explore every state of a model of the protocol, within bounds.
model:
    cargo run --release --package model

# Compare the binary that ships with an elector that polls: failover, cost, start. `--svg=docs/handover.svg` draws it.
bench *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench handover -- {{ args }}

# Measure what up to 1,000 candidates, and hundreds of elections, ask of an API server.
growth *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench growth -- {{ args }}

# Measure the HTTP port of the binary that ships: `throughput` beside tiny_http (needs wrk), `events`, `attacks`.
bench-http *args:
    LEADER_ELECTOR="$PWD/$(.ci/musl)" cargo bench --bench http -- {{ args }}

# Fuzz the HTTP parser and connections with random bytes for a number of seconds.
fuzz seconds="60":
    FUZZ_SECONDS={{ seconds }} FUZZ_SEED="$(date +%s)" cargo test --lib fuzz -- --nocapture

# Compare the API server of the tests with a recording of a real one, using the script that made the recording.
wire script recording:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --package apiserver
    coproc server { exec "${CARGO_TARGET_DIR:-target}/debug/apiserver" --listen=127.0.0.1:0 --tls \
        --token=admin=secret '--allow=admin:*:*' --token=legacy=legacytoken; }
    trap 'kill "$server_PID"' EXIT
    read -r url <&"${server[0]}"
    python3 '{{ script }}' compare "$url" secret '{{ recording }}'

# Check licences, banned crates and sources of the dependencies, by cargo-deny, which is installed first.
deny:
    .ci/deny check bans licenses sources

# Check the dependencies for advisories.
advisories:
    .ci/advisories

# Build the static binary that ships; check that it is static and not too large.
musl:
    .ci/musl

# Build the image with docker, podman or buildah, and save it as an archive.
image:
    .ci/image

# Build the image, and run its contents under chroot as the image's user; needs root.
image-check:
    .ci/image-check

# Validate the manifests, and the output of kustomize, against the schemas of Kubernetes.
manifests:
    .ci/manifests

# Make a release: binaries for six architectures (or the named ones), built twice and run under qemu; SBOMs, provenance,
# image, checksums; signatures if KEY names a key.
dist *architectures:
    .ci/dist {{ architectures }}

# Publish what `dist` made: as IMAGE, and as the release of TAG.
publish directory="target/release-files":
    .ci/publish {{ directory }}

# Run all checks that a change must pass.
ci:
    .ci/run
