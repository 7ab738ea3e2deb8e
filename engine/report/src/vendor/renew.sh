#!/usr/bin/env bash
# Fetches the pinned versions of Vega from the npm registry into this folder, and writes their digests.
# To take newer ones: change the versions here, run it, run the tests, look at a report.
set -euo pipefail
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
take() { # package version file
  (cd "$folder" && npm pack --silent "$1@$2" >/dev/null)
  mkdir "$folder/$1"
  tar -xzf "$folder/$1-$2.tgz" -C "$folder/$1"
  cp "$folder/$1/package/build/$3" "$3"
  cp "$folder/$1/package/LICENSE" "LICENSE-$1"
}
take vega 6.4.0 vega.min.js
take vega-lite 6.5.0 vega-lite.min.js
take vega-interpreter 2.3.2 vega-interpreter.js
sha256sum vega.min.js vega-lite.min.js vega-interpreter.js >SHA256SUMS
