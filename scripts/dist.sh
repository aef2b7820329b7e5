#!/bin/sh
# Builds what is given to users: a static binary for Linux with its manual pages and completions, in one archive.
#
#   scripts/dist.sh [FOLDER]        FOLDER is target/dist unless given
#
# Not part of ci.sh: it compiles everything once more, with optimization across crates. Needs musl-gcc (Debian: musl-tools) and
# the target: rustup target add x86_64-unknown-linux-musl. scripts/image-check.sh then tries the binary as a container would run it.
set -eu
cd "$(dirname "$0")/.."
TARGET=${TARGET:-x86_64-unknown-linux-musl}
folder=${1:-target/dist}
cargo build --profile dist --locked --target "$TARGET" -p holocron-cli --bin holocron
binary=${CARGO_TARGET_DIR:-target}/$TARGET/dist/holocron

# A program that needs a loader or a library doesn't start in an image that has nothing else.
if readelf --program-headers --dynamic "$binary" | grep -e 'INTERP' -e '(NEEDED)'; then
    echo "$binary isn't static" >&2
    exit 1
fi

version=$("$binary" --version | cut -d ' ' -f 2)
name=holocron-$version-$TARGET
rm -rf "${folder:?}/$name"
mkdir -p "$folder/$name/completions" "$folder/$name/man"
cp "$binary" LICENSE README.md CHANGELOG.md "$folder/$name"
cp -r deploy "$folder/$name"
"$binary" man "$folder/$name/man"
for shell in bash fish zsh; do
    "$binary" completions "$shell" >"$folder/$name/completions/holocron.$shell"
done
tar --create --gzip --file "$folder/$name.tar.gz" --owner 0 --group 0 --directory "$folder" "$name"
wc --bytes "$binary" "$folder/$name.tar.gz"
