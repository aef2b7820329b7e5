#!/bin/sh
# Everything a change must pass. Developers and CI run this same file.
#
#   scripts/ci.sh            everything
#   scripts/ci.sh check      format, lints and docs only
#
# Needs cargo, python3, node, npm, openssl, curl and chromium (which it installs with apt-get as root); installs everything else
# below target/ci. Servers listen on loopback only, at the ports S3_PORT and AZURE_PORT.
set -eu
cd "$(dirname "$0")/.."
S3_PORT=${S3_PORT:-9105}
AZURE_PORT=${AZURE_PORT:-9106}
CI_DIR=target/ci
mkdir -p "$CI_DIR"

step() { printf '\n== %s\n' "$1"; }

step "format"
cargo fmt --all -- --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
# The protocol is no_std: a clock or a socket in it does not compile.
cargo check -p holocron-protocol --locked

step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

[ "${1:-all}" = all ] || exit 0

step "the files for operators"
scripts/check-deploy.sh

stop_servers() {
    scripts/s3-server.sh stop "$CI_DIR/s3" 2>/dev/null || true
    scripts/azure-server.sh stop "$CI_DIR/azure" 2>/dev/null || true
}

step "an S3 server and an Azure emulator"
stop_servers
trap stop_servers EXIT
exports=$(scripts/s3-server.sh start "$CI_DIR/s3" "$S3_PORT")
eval "$exports"
exports=$(scripts/azure-server.sh start "$CI_DIR/azure" "$AZURE_PORT")
eval "$exports"
# Without these variables, tests that need a server would only print that they were skipped.
export HOLOCRON_REQUIRE_S3=1 HOLOCRON_REQUIRE_AZURE=1

step "tests (the README's command)"
cargo test --workspace --locked

step "the demo, on a directory and on the S3 server (the README's command)"
cargo build --release --locked
demo="cargo run --release --locked --quiet -- demo"
$demo --seconds 6 --kill sigkill --victim any
$demo --seconds 6 --kill sigstop --victim leader
$demo --seconds 6 --kill sigkill --victim leader --store "$HOLOCRON_TEST_S3_URL/ci-$$" --json

step "the examples"
# Uses the tests' build; a separate build would have other features. The tests of cart and rate_limiter ran above.
"${CARGO_TARGET_DIR:-target}/debug/examples/counter"
"${CARGO_TARGET_DIR:-target}/debug/examples/bank"
"${CARGO_TARGET_DIR:-target}/debug/examples/shard_owner"
"${CARGO_TARGET_DIR:-target}/debug/examples/chat_room"
"${CARGO_TARGET_DIR:-target}/debug/examples/devices" 20000
"${CARGO_TARGET_DIR:-target}/debug/examples/axum_service"

step "clients in Python and TypeScript, generated from the gateway's OpenAPI document"
scripts/http-clients.sh "${CARGO_TARGET_DIR:-target}/release/holocron" "$CI_DIR/http"

step "the dashboard in a browser"
scripts/dashboard.sh "${CARGO_TARGET_DIR:-target}/release/holocron" "$CI_DIR/dashboard"

step "the demo's checker has teeth: it fails on planted bugs"
scripts/planted.sh

step "done"
