#!/bin/sh
# Tries the image of deploy/docker without a container runtime: lays out a root file system with exactly what the last stage of the
# Dockerfile copies, and runs hosts in it as a container does, as process 1 of a process namespace, as the user of the Dockerfile.
#
#   scripts/dist.sh && scripts/image-check.sh [BINARY]
#
# Needs root, for chroot and namespaces; unshare, curl, openssl. Takes some seconds. Not part of ci.sh, because the static binary
# takes minutes to build.
set -eu
cd "$(dirname "$0")/.."
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-musl/dist/holocron}")
dockerfile=deploy/docker/Dockerfile
scratch=$(mktemp -d)
root=$scratch/root
chmod 755 "$scratch"
pids=

clean() {
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
}
trap clean EXIT
fail() {
    echo "image-check: $1" >&2
    cat "$scratch"/*.log >&2 || true
    exit 1
}

# The last stage of the Dockerfile: FROM scratch, COPY, USER.
last_stage=$(sed -n '/^FROM scratch/,$p' "$dockerfile")
user=$(echo "$last_stage" | sed -n 's/^USER //p')
uid=${user%:*} gid=${user#*:}
[ "$uid" -gt 0 ] || fail "the user is root"
echo "$last_stage" | sed -n 's/^COPY --from=build //p' | while read -r from to; do
    mkdir -p "$root$(dirname "$to")"
    case $from in
    */holocron) cp "$binary" "$root$to" ;;
    *) cp -L "$from" "$root$to" ;;
    esac
done
# What a runtime adds: /proc, names, and a volume for the store. There is no /tmp, no /dev, no shell.
mkdir "$root/proc" "$root/data"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
chown "$uid:$gid" "$root/data"
files_before=$(cd "$root" && find . -path ./data -prune -o -path ./proc -prune -o -print | sort)

# Replaces this shell by the image's process: `inside COMMAND`.
inside() { # In a subshell only.
    exec env -i unshare --pid --fork --kill-child --mount-proc=/proc --root="$root" --wd=/ \
        --setuid="$uid" --setgid="$gid" /holocron "$@"
}

# Starts a host. Its line with the addresses goes to $scratch/NAME.json.
start() {
    name=$1
    shift
    inside host --store file:///data --name "$name" --json --http 127.0.0.1:0 --slots 64 "$@" \
        >"$scratch/$name.json" 2>"$scratch/$name.log" &
    pids="$pids $!"
    tries=0
    until [ -s "$scratch/$name.json" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "$name doesn't start"
        sleep 0.05
    done
    http=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$scratch/$name.json")
    [ -n "$http" ] || fail "$name says no HTTP address"
    # The process that is number 1 in there is the child of unshare.
    child=$(cat "/proc/$!/task/$!/children")
    child=${child% }
    curl --silent --fail --retry 100 --retry-delay 0 --retry-all-errors --output /dev/null "http://$http/readyz" ||
        fail "$name isn't ready"
}

add() { curl --silent --fail --max-time 30 --json '{"amount":1}' "http://$first_http/v1/vnodes/counter/$1/add"; }
add_to_all() { for number in $(seq 1 20); do printf '%s ' "$(add "c$number")"; done; }
expect() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

start first
first_http=$http first_unshare=$! first=$child
start second --join
second=$child
expect "process 1" "$(sed -n 's/^NSpid:.*\t//p' "/proc/$first/status")" 1
expect "user" "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$first/status")" "$uid"
echo "two hosts run as process 1 of their containers, as user $uid"

expect "first round" "$(add_to_all)" "$(for _ in $(seq 1 20); do printf '1 '; done)"
# What a health check or an operator runs in the container: the binary is all there is.
status=$(inside status --store file:///data) || fail "status"
echo "$status" | grep -q second || fail "status doesn't list the second host: $status"
expect "children of the host" "$(cat /proc/"$first"/task/*/children)" ""

kill -KILL "$second"
begin=$(date +%s%N)
expect "second round" "$(add_to_all)" "$(for _ in $(seq 1 20); do printf '2 '; done)"
echo "SIGKILL of one host: 20 counters answered through the other one within $((($(date +%s%N) - begin) / 1000000)) ms"

kill -TERM "$first"
begin=$(date +%s%N)
code=0
wait "$first_unshare" || code=$?
expect "exit code after SIGTERM" "$code" 0
echo "SIGTERM: exit code 0 after $((($(date +%s%N) - begin) / 1000000)) ms"

files_after=$(cd "$root" && find . -path ./data -prune -o -path ./proc -prune -o -print | sort)
expect "files outside the volume" "$files_after" "$files_before"
echo "no file was written outside the volume"

# The certificates of public authorities: a store is trusted if the authority of its certificate is in the image's list, and only then.
cd "$scratch"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority" -keyout ca.key -out ca.pem 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -CA ca.pem -CAkey ca.key \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout store.key -out store.pem 2>/dev/null
port=$((20000 + $$ % 10000))
openssl s_server -quiet -accept "$port" -cert store.pem -key store.key -www >/dev/null 2>&1 &
pids="$pids $!"
sleep 0.5
probe() {
    inside probe s3://bucket/x --deadline 5 --option "endpoint=https://localhost:$port" --option region=x \
        --option access_key_id=x --option secret_access_key=x 2>&1
}
authorities=$root/etc/ssl/certs/ca-certificates.crt
[ "$(grep -c 'BEGIN CERTIFICATE' "$authorities")" -gt 100 ] || fail "the image lacks the public authorities"
said=$(probe) || true
case $said in *"isn't trusted"*) ;; *) fail "a certificate of an unknown authority: $said" ;; esac
cat ca.pem >>"$authorities"
said=$(probe) || true
# It isn't a store, but it is spoken to.
case $said in *"isn't trusted"*) fail "with its authority in the list: $said" ;; esac
echo "certificates are checked against the image's list: then the probe says: $said" | head -n 1
