#!/bin/sh
# A Ceph object gateway on loopback for tests: a real S3 server, one machine, all data in memory.
#
#   eval "$(scripts/ceph-server.sh start DIR [PORT])"    starts, prints what to export
#   scripts/ceph-server.sh stop DIR
#
# All its files are in DIR and are removed at the next start. The monitor listens at PORT + 1, the storage daemon at any
# free port. Needs curl, openssl and these Debian packages:
#
#   apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -eu

ACCESS_KEY=test
SECRET_KEY=testtest
BUCKET=holocron-test
READY_SECONDS=60

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "$0: $1" >&2; exit 1; }
# Whether the process of that pid file exists and is that daemon: pids are reused.
running() { [ -f "$dir/run/$1.pid" ] && grep -q "$2" "/proc/$(cat "$dir/run/$1.pid")/comm" 2>/dev/null; }

# Creates the bucket: one request with the old signature, which fits one line.
create_bucket() {
    date=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
    signature=$(printf 'PUT\n\n\n%s\n/%s' "$date" "$BUCKET" |
        openssl dgst -sha1 -hmac "$SECRET_KEY" -binary | openssl base64 -A)
    curl -s -f -m 5 -o "$dir/answer" -X PUT -H "Date: $date" -H "Authorization: AWS $ACCESS_KEY:$signature" \
        "$endpoint/$BUCKET"
}

write_conf() {
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon host = 127.0.0.1:$mon_port
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
keyring = $dir/keyring
mon data = $dir/mon
osd data = $dir/osd
log file = $dir/log/\$name.log
run dir = $dir/run
pid file = $dir/run/\$name.pid
admin socket = $dir/run/\$name.asok
# One daemon keeps the only copy; a full disk is accepted.
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
mon allow pool size one = true
osd crush chooseleaf type = 0
mon data avail warn = 1
mon data avail crit = 1
setuser match path =
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
CONF
}

# Each daemon goes into the background and writes its pid to $dir/run.
start_daemons() {
    monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap"
    ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
    ceph-mon -i a
    osd=$(cat /proc/sys/kernel/random/uuid)
    timeout "$READY_SECONDS" ceph osd new "$osd"
    ceph-osd -i 0 --mkfs --osd-uuid "$osd"
    ceph-osd -i 0
    timeout "$READY_SECONDS" ceph osd crush add osd.0 1 root=default
    timeout "$READY_SECONDS" radosgw-admin user create --uid=test --display-name=test \
        --access-key="$ACCESS_KEY" --secret-key="$SECRET_KEY"
    radosgw -n client.admin
}

# Stops one daemon, if it runs.
end_daemon() {
    running "$1" "$2" || return 0
    pid=$(cat "$dir/run/$1.pid")
    kill "$pid"
    tries=100
    while running "$1" "$2"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || kill -9 "$pid"
        sleep 0.1
    done
    rm -f "$dir/run/$1.pid"
}

stop_daemons() {
    end_daemon client.admin radosgw
    end_daemon osd.0 ceph-osd
    end_daemon mon.a ceph-mon
}

[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
port=${3:-9107}
mon_port=$((port + 1))
export CEPH_CONF="$dir/ceph.conf"

case $verb in
start)
    for tool in ceph-mon ceph-osd radosgw ceph radosgw-admin curl openssl; do
        command -v "$tool" >/dev/null || fail "$tool is missing: see the head of this script for the packages"
    done
    ! running mon.a ceph-mon || fail "already running in $dir: stop it first"
    endpoint=http://127.0.0.1:$port
    # Otherwise another server at this port would be taken for ours.
    if curl -s -m 2 -o "$dir/answer" "$endpoint/"; then fail "port $port is taken"; fi
    for part in mon osd log run monmap keyring; do rm -rf "${dir:?}/$part"; done
    mkdir "$dir/mon" "$dir/osd" "$dir/log" "$dir/run"
    fsid=$(cat /proc/sys/kernel/random/uuid)
    write_conf
    start_daemons >"$dir/log/start" 2>&1 || { cat "$dir/log/start" >&2; stop_daemons; fail "it did not start"; }
    tries=$((READY_SECONDS * 10))
    # It is ready when the bucket can be created.
    until create_bucket; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || ! running mon.a ceph-mon || ! running osd.0 ceph-osd; then
            tail -n 20 "$dir"/log/* >&2
            stop_daemons
            fail "not ready after $READY_SECONDS s"
        fi
        sleep 0.1
    done
    cat <<EXPORTS
export AWS_ENDPOINT=$endpoint
export AWS_ALLOW_HTTP=true
export AWS_ACCESS_KEY_ID=$ACCESS_KEY
export AWS_SECRET_ACCESS_KEY=$SECRET_KEY
export AWS_REGION=us-east-1
export HOLOCRON_TEST_S3_URL=s3://$BUCKET
EXPORTS
    ;;
stop)
    running mon.a ceph-mon || fail "nothing runs in $dir"
    stop_daemons
    ;;
*) usage ;;
esac
