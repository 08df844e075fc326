# SPDX-License-Identifier: Apache-2.0
# Sourced with $root set. find_node sets $node to a Node.js of version 24 or newer: the dependency's own
# binary when it is installed (one process fewer than asking PATH's for its version), else PATH's.
find_node() {
  for node in "$root"/node_modules/node-linux-*/bin/node; do
    [ -x "$node" ] && return 0
  done
  node=$(command -v node) || return 1
  case $("$node" --version) in
    v2[4-9].* | v[3-9][0-9].*) return 0 ;;
  esac
  return 1
}
