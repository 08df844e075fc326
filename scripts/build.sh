#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles what is C: BPF objects (bpf/*.bpf.c) and static helpers (bpf/../agent/cni/*.c, test/**/*.c) into
# build/. Only what is older than its sources is compiled again.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/bpf build/bin

newer() { # newer TARGET SOURCE...: true when the target is missing or older than a source
  target=$1
  shift
  [ -e "$target" ] || return 0
  for input in "$@"; do
    [ "$input" -nt "$target" ] && return 0
  done
  return 1
}

for source in bpf/*.bpf.c; do
  [ -e "$source" ] || continue
  object=build/bpf/$(basename "$source" .c).o
  if newer "$object" "$source" bpf/*.h bpf/lib/*.h; then
    echo "setup: compiling $source"
    clang -O2 -g -Wall -Werror -target bpf -mcpu=v3 -I bpf -I "/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object.tmp"
    llvm-strip -g "$object.tmp"
    mv "$object.tmp" "$object"
  fi
done

for source in agent/cni/*.c test/*/*.c test/*/*/*.c test/*/*/*/*.c; do
  [ -e "$source" ] || continue
  program=build/bin/$(basename "$source" .c)
  if newer "$program" "$source"; then
    echo "setup: compiling $source"
    clang -O2 -Wall -Wextra -Werror -static -o "$program.tmp" "$source"
    mv "$program.tmp" "$program"
  fi
done
