#!/bin/sh
# The dashboard in a browser without a screen, in front of a real cluster: what it shows, keyboard, themes, narrow screens, tokens,
# markup in texts, and that it asks nothing of other servers.
#
#   scripts/dashboard.sh HOLOCRON DIR               HOLOCRON: the binary; installs and works in DIR
#   scripts/dashboard.sh pictures SLOW_HOSTS DIR    makes the pictures of docs/dashboard; SLOW_HOSTS: the gateway's example;
#                                                   needs pngquant
#
# With DASHBOARD_FILES, the page's files come from that folder instead of the program: crates/gateway/dashboard while working on them.
# A second run with the same DIR installs nothing. Needs node and npm, and chromium: at $CHROMIUM, /usr/bin/chromium if that is
# not set, which is installed with apt-get if this runs as root. Listens on loopback only.
set -eu

PLAYWRIGHT=playwright-core@1.65.1
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

[ $# -eq 2 ] || [ $# -eq 3 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mode=check
[ "$1" != pictures ] || { mode=pictures; shift; }
here=$(cd "$(dirname "$0")" && pwd)
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
dir=$(cd "$2" && pwd)

if ! [ -x "$CHROMIUM" ]; then
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null ||
        { echo "$0: there is no $CHROMIUM: install chromium, or name one in CHROMIUM" >&2; exit 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >"$dir/apt.log" 2>&1 ||
        { cat "$dir/apt.log" >&2; exit 1; }
fi
if ! [ -f "$dir/installed" ]; then
    (cd "$dir" && npm init --yes >npm.log && npm install --silent --no-fund --no-audit "$PLAYWRIGHT")
    touch "$dir/installed"
fi

node "$here/dashboard/$mode.mjs" "$program" "$dir"
[ $mode = check ] || pngquant --force --ext .png --speed 1 64 "$here"/../docs/dashboard/*.png
