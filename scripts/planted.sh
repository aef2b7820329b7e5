#!/bin/sh
# The demo's checker has teeth: built with a planted bug, the demo must end with exit code 3 (something was lost, doubled
# or stale). And nobody can ship one: a release build with a planted bug must not compile.
#
# A bug need not show in every run, so each gets a few. planted-trust-already-exists shows at a host that sleeps through
# its own seal, so it is looked for with SIGSTOP only.
set -eu
cd "$(dirname "$0")/.."
TRIES=${TRIES:-8}
binary=${CARGO_TARGET_DIR:-target}/debug/holocron
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs the demo until it finds something; fails when it doesn't.
must_be_noticed() {
    bug=$1
    tried=0
    status=0
    while [ "$status" -ne 3 ]; do
        if [ "$tried" -eq "$TRIES" ]; then
            cat "$log"
            echo "planted-$bug goes unnoticed in $TRIES runs" >&2
            exit 1
        fi
        kill=sigstop
        [ "$bug" = trust-already-exists ] || [ $((tried % 2)) -eq 0 ] || kill=sigkill
        status=0
        "$binary" demo --seconds 4 --kill "$kill" >"$log" 2>&1 || status=$?
        tried=$((tried + 1))
        echo "planted-$bug: $(tail -n 1 "$log") (exit code $status)"
    done
}

for bug in reply-before-commit trust-already-exists no-window; do
    cargo build --quiet --locked -p holocron-cli --features "planted-$bug"
    must_be_noticed "$bug"
    if cargo build --release --quiet --locked -p holocron-cli --features "planted-$bug" 2>"$log"; then
        echo "a release build takes planted-$bug" >&2
        exit 1
    fi
    grep -q "never in a release build" "$log" || { cat "$log"; exit 1; }
done
# Whoever uses the directory next wants the real thing.
cargo build --quiet --locked -p holocron-cli
