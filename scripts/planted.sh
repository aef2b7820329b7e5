#!/bin/sh
# The demo's checker has teeth: with a planted bug it must end with exit code 3 (something was lost, doubled or stale).
# And nobody can ship one: the release build refuses to plant any.
#
# A bug need not show in every run, so each gets a few. trust-already-exists shows at a host that sleeps through its own
# seal, so it is looked for with SIGSTOP only. What the simulator and the models notice: docs/verification.md.
set -eu
cd "$(dirname "$0")/.."
TRIES=${TRIES:-4}
target=${CARGO_TARGET_DIR:-target}
# The demo keeps the traces of whatever it finds. Nobody needs these.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch"
log=$scratch/log

# Runs the demo until it finds something; fails when it doesn't.
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

# A build without debug assertions says that it can't, and ends as at any wrong usage.
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

# The tests' build has it; by itself it would be built anew, with other features.
cargo test --quiet --locked --workspace --no-run
for bug in reply-before-commit trust-already-exists no-window; do
    must_be_noticed "$bug"
done
# ci.sh has built it; whoever runs this alone need not wait for that.
if [ -x "$target/release/holocron" ]; then
    must_be_refused "$target/release/holocron"
else
    echo "no release build here: whether it refuses was not looked at"
fi
