#!/bin/sh
# The gateway's OpenAPI document: checked by a validator, and made into clients in Python and TypeScript, which are tried.
#
#   scripts/http-clients.sh HOLOCRON DIR      HOLOCRON: the binary; installs and works in DIR
#
# A second run with the same DIR installs nothing. Needs python3, npm and node. Listens on loopback only.
set -eu

VALIDATOR=openapi-spec-validator==0.9.0
PYTHON_GENERATOR=openapi-python-client==0.29.1
TYPESCRIPT="openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5.9.3 @types/node@20.19.43"
READY_SECONDS=30

[ $# -eq 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
holocron=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$dir"

if ! [ -f installed ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet --disable-pip-version-check "$VALIDATOR" "$PYTHON_GENERATOR"
    # The generated code isn't kept, so it needn't be formatted.
    echo 'post_hooks: []' >generator.yml
    (mkdir -p typescript && cd typescript && npm init --yes >npm.log && npm pkg set type=module && npm install --silent --no-fund --no-audit $TYPESCRIPT)
    touch installed
fi

rm -rf store python_client && mkdir store
"$holocron" host --store "file://$dir/store" --name h1 --http 127.0.0.1:0 --json >host.json 2>host.log &
host=$!
trap 'kill $host 2>/dev/null || true' EXIT
tries=$((READY_SECONDS * 10))
until gateway=$(sed -n 's/.*"http":"\([^"]*\)".*/http:\/\/\1/p' host.json) && [ -n "$gateway" ] &&
    venv/bin/python -c "import httpx; httpx.get('$gateway/readyz').raise_for_status()" 2>/dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { cat host.log >&2; echo "$0: not ready after $READY_SECONDS s" >&2; exit 1; }
    kill -0 $host || { cat host.log >&2; echo "$0: the host ended" >&2; exit 1; }
    sleep 0.1
done

venv/bin/python -c "import httpx; open('openapi.json', 'wb').write(httpx.get('$gateway/v1/openapi.json').content)"
venv/bin/openapi-spec-validator openapi.json
# A warning would be an operation that the client doesn't have.
venv/bin/openapi-python-client generate --path openapi.json --output-path python_client --meta none --config generator.yml \
    --fail-on-warning >generate.log 2>&1 ||
    { cat generate.log >&2; exit 1; }
PYTHONPATH="$dir" venv/bin/python "$here/http-clients/try.py" "$gateway"
cp "$here/http-clients/try.ts" typescript/try.ts
cd typescript
npx openapi-typescript ../openapi.json --output api.d.ts >generate.log 2>&1 || { cat generate.log >&2; exit 1; }
npx tsc --strict --skipLibCheck --target es2022 --module nodenext --moduleResolution nodenext try.ts
node try.js "$gateway"
