#!/usr/bin/env bash
# Builds the examples as packages of their own, without the server.
set -euo pipefail
cd "$(dirname "$0")"
# One build folder: what both depend on is built once. Modules whole, as in release, but not optimised, which takes
# a sixth less time than a debug build. The kernels are optimised in any case.
build=$(realpath -m ../.build/examples)
for example in Thumbs WeightedRegression; do
  swift build -c release -Xswiftc -Onone --package-path $example --scratch-path "$build" \
    --explicit-target-dependency-import-check error
done
if compgen -G "$build/*/release/Hummingbird.build/*.o" > /dev/null; then
  echo "the examples built the server" >&2
  exit 1
fi
