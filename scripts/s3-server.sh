#!/bin/sh
# An S3-protocol server on loopback for tests, in memory, with one empty bucket.
#
#   eval "$(scripts/s3-server.sh start DIR [PORT])"    installs into DIR, starts, prints what to export
#   scripts/s3-server.sh stop DIR
#
# All its files are in DIR; a second start with the same DIR installs nothing. Needs python3 and curl.
set -eu

PACKAGE=ministack==1.5.33
BUCKET=holocron-test
READY_SECONDS=30

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "$0: $1" >&2; exit 1; }
running() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
port=${3:-9105}

case $verb in
start)
    running && fail "already running in $dir: stop it first"
    if ! "$dir/venv/bin/pip" show --quiet ministack 2>/dev/null; then
        python3 -m venv "$dir/venv" >&2
        "$dir/venv/bin/pip" install --quiet --disable-pip-version-check "$PACKAGE" >&2
    fi
    endpoint=http://127.0.0.1:$port
    # Otherwise another server at this port would be taken for ours.
    if curl -s -m 2 -o "$dir/answer" "$endpoint/"; then fail "port $port is taken"; fi
    SERVICES=s3 BIND_HOST=127.0.0.1 GATEWAY_PORT=$port LOG_LEVEL=ERROR \
        setsid "$dir/venv/bin/ministack" </dev/null >"$dir/log" 2>&1 &
    echo $! >"$dir/pid"
    tries=$((READY_SECONDS * 10))
    # It is ready when the bucket can be created.
    until curl -s -f -m 2 -o "$dir/answer" -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user test:test "$endpoint/$BUCKET"; do
        running || { cat "$dir/log" >&2; fail "the server ended"; }
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { cat "$dir/log" >&2; "$0" stop "$dir"; fail "not ready after $READY_SECONDS s"; }
        sleep 0.1
    done
    cat <<EXPORTS
export AWS_ENDPOINT=$endpoint
export AWS_ALLOW_HTTP=true
export AWS_ACCESS_KEY_ID=test
export AWS_SECRET_ACCESS_KEY=test
export AWS_REGION=us-east-1
export HOLOCRON_TEST_S3_URL=s3://$BUCKET
EXPORTS
    ;;
stop)
    running || fail "nothing runs in $dir"
    pid=$(cat "$dir/pid")
    kill "$pid"
    tries=100
    while running; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || kill -9 "$pid"
        sleep 0.1
    done
    rm "$dir/pid"
    ;;
*) usage ;;
esac
