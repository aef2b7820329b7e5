#!/bin/sh
# The demo's checker has teeth: built with a planted bug, the demo must end with exit code 3 (lost or doubled); built
# without one, with 0. A bug may not show in one run, so each gets a few.
set -eu
cd "$(dirname "$0")/.."
TRIES=${TRIES:-4}
DIR=target/planted
mkdir -p "$DIR"

# How a run of the demo with a planted bug ended.
run() {
    bug=$1
    shift
    code=0
    "$DIR/$bug" demo --seconds 4 "$@" >"$DIR/$bug.out" 2>"$DIR/$bug.err" || code=$?
    echo "$bug: demo $* ended with $code: $(tail -n 1 "$DIR/$bug.err")"
}

for bug in planted-reply-before-commit planted-trust-already-exists planted-no-window; do
    cargo build --quiet --locked -p holocron-cli --features "$bug"
    cp target/debug/holocron "$DIR/$bug"
    tried=0
    code=0
    while [ "$code" != 3 ]; do
        if [ "$tried" = "$TRIES" ]; then
            cat "$DIR/$bug.out"
            echo "$bug went unnoticed in $TRIES runs" >&2
            exit 1
        fi
        # A host that sleeps shows most; one that dies shows the rest.
        if [ $((tried % 2)) = 0 ]; then run "$bug" --kill sigstop; else run "$bug" --kill sigkill; fi
        tried=$((tried + 1))
    done
done
