#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Turns the namespaces that it was started in (net, mnt, pid, uts) into the cluster's switch and the "internet"
# behind it: a bridge for the nodes' uplinks, and the world's addresses. It has no route but to what is on the
# bridge, so what reaches it with a pod's address gets no answer, and nothing leaves the machine.
#
#   switch.sh DIR SANDBOX_INIT LOG_DIR
set -eu
dir=$1 init=$2 logs=$3
read -r stat_line </proc/self/stat
# shellcheck disable=SC2086
set -- $stat_line
echo "$1 ${22}" >"$dir/init.pid.new"
mv "$dir/init.pid.new" "$dir/init.pid"

mount --make-rprivate /
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
hostname internet
echo 0 >/proc/sys/net/ipv4/ip_forward
[ -e /proc/sys/net/ipv6 ] && echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
ip -batch "$dir/switch.ip"
exec "$init" "$dir/services" "$logs" </dev/null
