#!/bin/sh
# Shows that the demo detects faults: with a planted bug it must end with exit code 3 (something was lost, doubled or
# stale). The release build must refuse to plant a bug.
#
# A bug may not show in every run, so each gets several runs. trust-already-exists shows when a host is paused while it is
# sealed, so it runs with SIGSTOP only. docs/verification.md lists what the simulator and the models detect.
set -eu
cd "$(dirname "$0")/.."
TRIES=${TRIES:-4}
target=${CARGO_TARGET_DIR:-target}
# The demo keeps the store and logs when it finds a fault. They are not needed here.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch"
log=$scratch/log

# Runs the demo until it finds a fault; fails if it doesn't.
must_be_noticed() {
    bug=$1
    tried=0
    status=0
    while [ "$status" -ne 3 ]; do
        if [ "$tried" -eq "$TRIES" ]; then
            cat "$log"
            echo "planted $bug goes unnoticed in $TRIES runs" >&2
            exit 1
        fi
        kill=sigstop
        [ "$bug" = trust-already-exists ] || [ $((tried % 2)) -eq 0 ] || kill=sigkill
        status=0
        HOLOCRON_PLANTED=$bug "$target/debug/holocron" demo --seconds 4 --kill "$kill" >"$log" 2>&1 || status=$?
        tried=$((tried + 1))
        echo "$bug: $(tail -n 1 "$log") (exit code $status)"
    done
}

# A build without debug assertions must refuse to plant a bug, with the exit code of wrong usage.
must_be_refused() {
    status=0
    HOLOCRON_PLANTED=no-window "$1" demo --seconds 2 >"$log" 2>&1 || status=$?
    if [ "$status" -ne 2 ] || ! grep -q "can't be planted in a release build" "$log"; then
        cat "$log"
        echo "$1 takes a planted bug (exit code $status)" >&2
        exit 1
    fi
    echo "a release build refuses: $(cat "$log")"
}

# Uses the tests' build; a separate build would have other features.
cargo test --quiet --locked --workspace --no-run
for bug in reply-before-commit trust-already-exists no-window; do
    must_be_noticed "$bug"
done
# ci.sh has built it; when run alone, this script doesn't build it.
if [ -x "$target/release/holocron" ]; then
    must_be_refused "$target/release/holocron"
else
    echo "no release build here: whether it refuses was not looked at"
fi
