#!/bin/sh
# The extension as one file that VS Code installs: editors/vscode/vsix.sh albor.vsix && code --install-extension albor.vsix
set -eu
mkdir -p "$(dirname "$1")"
made=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir "$build/extension"
cp "$here/package.json" "$here/README.md" "$here"/*.js "$build/extension"
cd "$build"
python3 -m zipfile -c "$made" extension
