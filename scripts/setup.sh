#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The one set-up step behind `./shunt demo` and `npm test`: installs Debian packages that are missing, the npm
# dependencies of the lockfile, and compiles the BPF objects and the C helpers. Idempotent; what is in place
# is left alone. With --node-only just the npm dependencies (needs neither root nor Linux packages).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. "$root/scripts/node-path.sh"

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

# One set-up at a time: two commands started together must not both run apt-get or npm.
if [ "${SHUNT_SETUP_LOCKED:-}" != 1 ] && command -v flock >/dev/null 2>&1; then
  mkdir -p build
  exec env SHUNT_SETUP_LOCKED=1 flock -w 1200 build/.setup.lock sh "$0" "$@"
fi

npm_dependencies() {
  # npm writes its own copy of the lockfile last; older than ours means not installed, or interrupted.
  if [ -e node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
    return 0
  fi
  command -v npm >/dev/null 2>&1 || fail "npm is missing: install Node.js 20 or newer with npm, then try again"
  say "installing npm dependencies from package-lock.json"
  npm ci --no-audit --no-fund --ignore-scripts --loglevel=error || fail "npm ci failed (see above)"
  touch node_modules/.package-lock.json
}

# Package, and a file of it that proves it is there (asking dpkg for each would take longer than the rest).
debian_packages='
containerd=/usr/bin/containerd
runc=/usr/sbin/runc
clang=/usr/bin/clang
llvm=/usr/bin/llvm-strip
libc6-dev=/usr/include/stdio.h
libbpf-dev=/usr/include/bpf/bpf.h
bpftool=/usr/sbin/bpftool
iproute2=/usr/bin/ip
iptables=/usr/sbin/iptables
nftables=/usr/sbin/nft
containernetworking-plugins=/usr/lib/cni/bridge
busybox-static=/bin/busybox
iperf3=/usr/bin/iperf3
tcpdump=/usr/bin/tcpdump
conntrack=/usr/sbin/conntrack
ipset=/usr/sbin/ipset
iputils-ping=/usr/bin/ping
procps=/usr/bin/pgrep
curl=/usr/bin/curl
tmux=/usr/bin/tmux
ca-certificates=/usr/sbin/update-ca-certificates
util-linux=/usr/bin/nsenter
'

missing_packages() {
  for entry in $debian_packages; do
    [ -e "${entry#*=}" ] || printf '%s ' "${entry%%=*}"
  done
  command -v kubectl >/dev/null 2>&1 || printf 'kubernetes-client '
}

system_packages() {
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || fail "missing Debian packages: $missing; run as root, or: apt-get install $missing"
  command -v apt-get >/dev/null 2>&1 || fail "missing programs of these Debian packages: $missing; install them with your package manager"
  say "installing Debian packages: $missing"
  # A container daemon of the machine's own is not wanted: packages must not start their services.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT INT TERM
  fi
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >build/apt.log 2>&1 ||
    { DEBIAN_FRONTEND=noninteractive apt-get update -qq >build/apt.log 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>build/apt.log 2>&1; } ||
    { tail -n 20 build/apt.log >&2; fail "apt-get install failed (all of it in build/apt.log)"; }
}

main() {
  mkdir -p build
  npm_dependencies
  [ "${1:-}" = --node-only ] && return 0
  [ "$(uname -s)" = Linux ] || fail "test clusters and the agent need Linux; this is $(uname -s)"
  system_packages
  sh scripts/build.sh
}
main "$@"
