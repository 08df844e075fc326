#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Turns the namespaces that it was started in (net, mnt, pid, uts, ipc, cgroup) into a sandbox node: builds a
# root of its own, pivots into it and becomes sandbox-init. Everything is mounted in this mount namespace only,
# so it is gone when the node's last process is.
#
#   boot.sh NODE_DIR NODE_NAME REPO_DIR NODE_BINARY CACHE_DIR IMAGES(disk|memory) [ASSETS_DIR]
set -eu
dir=$1 name=$2 repo=$3 node_binary=$4 cache=$5 images=$6 assets=${7:-}

# The machine's /proc is still here: its "self" is this process as the machine sees it; exec keeps both.
read -r stat_line </proc/self/stat
# shellcheck disable=SC2086
set -- $stat_line
echo "$1 ${22}" >"$dir/init.pid.new"
mv "$dir/init.pid.new" "$dir/init.pid"

mount --make-rprivate /
hostname "$name"
root=$dir/root
mount -t tmpfs -o mode=755,size=64m sandbox "$root"
cd "$root"
mkdir -p proc sys dev etc usr var opt run tmp root home mnt srv media old
for link in bin sbin lib lib32 lib64 libx32; do
  if [ -h "/$link" ]; then
    cp -P "/$link" "$link"
  elif [ -d "/$link" ]; then
    mkdir "$link"
    mount --bind "/$link" "$link"
    mount -o remount,bind,ro "$link"
  fi
done

# Copy-on-write views of the machine's programs and configuration; private data on the real filesystem.
for tree in etc usr; do
  mount -t overlay -o "lowerdir=/$tree,upperdir=$dir/$tree.upper,workdir=$dir/$tree.work" sandbox "$tree"
done
mount --bind "$dir/var" var
mount --bind "$dir/opt" opt
mount -t tmpfs -o mode=755 sandbox run
mount -t tmpfs -o mode=1777 sandbox tmp
chmod 700 root
mkdir -p run/lock run/netns run/sandbox var/lib/containerd var/log var/tmp var/cache/node
mount --bind "$cache" var/cache/node
if [ "$images" = memory ]; then
  mount -t tmpfs -o mode=711,size=6g sandbox var/lib/containerd
fi
chmod 1777 var/tmp run/lock
[ -h var/run ] || ln -s /run var/run
[ -h var/lock ] || ln -s /run/lock var/lock

# Whatever the machine has there is not the node's.
rm -rf etc/cni etc/containerd etc/kubernetes etc/resolv.conf usr/libexec/kubernetes
cp -a "$dir/etc/." etc/
mkdir -p etc/cni/net.d etc/kubernetes/manifests opt/cni/bin opt/shunt usr/local/bin
ln -sf /proc/self/mounts etc/mtab
mount --bind "$repo" opt/shunt
mount -o remount,bind,ro opt/shunt
[ -e usr/local/bin/node ] || : >usr/local/bin/node
mount --bind "$node_binary" usr/local/bin/node
if [ -n "$assets" ]; then
  mkdir -p opt/kubernetes
  mount --bind "$assets" opt/kubernetes
  mount -o remount,bind,ro opt/kubernetes
fi

# Devices: no disks.
mount -t tmpfs -o mode=755 sandbox dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 600 dev/kmsg c 1 11
mkdir dev/pts dev/shm dev/mqueue dev/net
[ -e /dev/net/tun ] && mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777 sandbox dev/shm
mount -t mqueue mqueue dev/mqueue

mount -t proc -o nosuid,nodev,noexec proc proc
# Settings of the whole machine: the node sees files that take what a kubelet writes. Nobody can reboot it.
fake() { # fake SETTING VALUE
  [ -e "proc/sys/$1" ] || return 0
  mkdir -p "run/sandbox/sysctl/${1%/*}"
  echo "$2" >"run/sandbox/sysctl/$1"
  mount --bind "run/sandbox/sysctl/$1" "proc/sys/$1"
}
fake vm/overcommit_memory 1
fake vm/panic_on_oom 0
fake kernel/panic 10
fake kernel/panic_on_oops 1
fake kernel/keys/root_maxkeys 1000000
fake kernel/keys/root_maxbytes 25000000
[ ! -e proc/sysrq-trigger ] || mount --bind dev/null proc/sysrq-trigger

mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t bpf -o mode=700 bpf sys/fs/bpf
[ -d sys/kernel/tracing ] && mount -t tracefs tracefs sys/kernel/tracing 2>/dev/null || :
[ -d sys/kernel/security ] && mount -t securityfs -o ro securityfs sys/kernel/security 2>/dev/null || :

# The cgroup namespace's roots are the node's own cgroups in every hierarchy.
if grep -qv '^0:' /proc/self/cgroup; then
  mount -t tmpfs -o mode=755 sandbox sys/fs/cgroup
  while IFS=: read -r id controllers _; do
    case $id:$controllers in
      0:*)
        mkdir sys/fs/cgroup/unified
        mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
        ;;
      *:name=*)
        mkdir "sys/fs/cgroup/${controllers#name=}"
        mount -t cgroup -o "none,$controllers" cgroup "sys/fs/cgroup/${controllers#name=}"
        ;;
      *)
        mkdir "sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "sys/fs/cgroup/$controllers"
        for one in $(echo "$controllers" | tr , ' '); do
          [ -e "sys/fs/cgroup/$one" ] || ln -s "$controllers" "sys/fs/cgroup/$one"
        done
        ;;
    esac
  done </proc/self/cgroup
else
  # Version 2 alone: a cgroup that gives controllers to its children may have no process itself.
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir -p sys/fs/cgroup/system
  echo $$ >sys/fs/cgroup/system/cgroup.procs
  for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || :
  done
fi

mkdir -p run/sandbox/services
mount --bind "$dir/services" run/sandbox/services
pivot_root . old
umount -l /old
rmdir /old
mount --make-rshared /
ip link set lo up
cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux NODE_NAME="$name" NODE_COMPILE_CACHE=/var/cache/node \
  /opt/shunt/build/bin/sandbox-init /run/sandbox/services /var/log </dev/null
