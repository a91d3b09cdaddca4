#!/bin/sh
# Puts the library that draws the diagrams into the site, so that no page loads it from a public host.
set -eu
version=11.17.2
wanted=sha512-V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==
site="$1"
if ! command -v npm > /dev/null; then
    echo "npm is not installed: the diagrams load their library from a public host"
    exit 0
fi
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent "mermaid@$version" > /dev/null
found="sha512-$(openssl dgst -sha512 -binary "mermaid-$version.tgz" | openssl base64 -A)"
if [ "$found" != "$wanted" ]; then
    echo "mermaid $version is not the one that was pinned: $found" >&2
    exit 1
fi
tar -xzf "mermaid-$version.tgz" package/dist/mermaid.min.js
mkdir -p "$OLDPWD/$site/assets"
cp package/dist/mermaid.min.js "$OLDPWD/$site/assets/"
