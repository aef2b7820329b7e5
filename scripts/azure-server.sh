#!/bin/sh
# An Azure Blob emulator on loopback for tests, in memory, with one empty container.
#
#   eval "$(scripts/azure-server.sh start DIR [PORT])"    installs into DIR, starts, prints what to export
#   scripts/azure-server.sh stop DIR
#
# All its files are in DIR; a second start with the same DIR installs nothing. Needs npm, openssl and curl.
set -eu

PACKAGE=azurite@3.35.0
CONTAINER=holocron-test
READY_SECONDS=30
# The emulator's published account: no secret.
ACCOUNT=devstoreaccount1
KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "$0: $1" >&2; exit 1; }
running() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

# Creates the container: one request, signed with the account's key.
create_container() {
    date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
    key=$(printf %s "$KEY" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
    signature=$(
        printf 'PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:2021-08-06\n/%s/%s/%s\nrestype:container' \
            "$date" "$ACCOUNT" "$ACCOUNT" "$CONTAINER" |
            openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A
    )
    curl -s -f -m 2 -o "$dir/answer" -X PUT -H "x-ms-date: $date" -H 'x-ms-version: 2021-08-06' -H 'Content-Length: 0' \
        -H "Authorization: SharedKey $ACCOUNT:$signature" "$endpoint/$CONTAINER?restype=container"
}

[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
port=${3:-9106}

case $verb in
start)
    running && fail "already running in $dir: stop it first"
    if [ ! -x "$dir/node_modules/.bin/azurite-blob" ]; then
        npm install --silent --no-audit --no-fund --prefix "$dir" "$PACKAGE" >&2
    fi
    endpoint=http://127.0.0.1:$port/$ACCOUNT
    # Otherwise another server at this port would be taken for ours.
    if curl -s -m 2 -o "$dir/answer" "$endpoint"; then fail "port $port is taken"; fi
    setsid "$dir/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$port" \
        --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent </dev/null >"$dir/log" 2>&1 &
    echo $! >"$dir/pid"
    tries=$((READY_SECONDS * 10))
    # It is ready when the container can be created.
    until create_container; do
        running || { cat "$dir/log" >&2; fail "the server ended"; }
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { cat "$dir/log" >&2; "$0" stop "$dir"; fail "not ready after $READY_SECONDS s"; }
        sleep 0.1
    done
    cat <<EXPORTS
export AZURE_STORAGE_ACCOUNT_NAME=$ACCOUNT
export AZURE_STORAGE_ACCOUNT_KEY=$KEY
export AZURE_ENDPOINT=$endpoint
export AZURE_ALLOW_HTTP=true
export HOLOCRON_TEST_AZURE_URL=az://$CONTAINER
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
