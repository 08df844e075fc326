#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs its arguments with a Node.js new enough for type stripping, whatever `node` on PATH is.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/node-path.sh"
find_node || { echo "no Node.js 24 or newer: run sh scripts/setup.sh first" >&2; exit 1; }
exec "$node" --disable-warning=ExperimentalWarning "$@"
