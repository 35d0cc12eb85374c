#!/bin/sh
# Installs what the tests compare with and look through, where this is Debian and we are root. What can't be had is no
# error: the tests that need it are skipped by name.
set -u

packages='
  systemd-container bubblewrap runc mmdebstrap busybox-static
  binutils binutils-aarch64-linux-gnu binutils-bpf qemu-user-static gcc libc6-dev
  linux-libc-dev linux-libc-dev-arm64-cross linux-libc-dev-armhf-cross
  strace tmux iproute2 iputils-ping procps util-linux libcap2-bin
  e2fsprogs dbus dbus-daemon rsync attr acl
  fdisk gdisk xfsprogs btrfs-progs dosfstools exfatprogs ntfs-3g squashfs-tools erofs-utils f2fs-tools
  genisoimage xorriso udftools cryptsetup-bin mdadm
  qemu-system-x86 uidmap passt slirp4netns fuse2fs squashfuse'

missing=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' 2>/dev/null | awk -v wanted="$packages" '
  $1 == "installed" { installed[$2] }
  END { n = split(wanted, names); for (i = 1; i <= n; i++) if (!(names[i] in installed)) print names[i] }')
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed, and this is not root on Debian:" $missing
  exit 0
fi

echo "Installing" $missing
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
install() { timeout 900 apt-get install -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"; }
{
  timeout 120 apt-get update -qq
  # One that this release lacks makes apt-get refuse them all: then each by itself.
  # shellcheck disable=SC2086
  install $missing || for package in $missing; do install "$package" || echo "E: no $package"; done
} </dev/null >"$log" 2>&1
grep '^E: no ' "$log"
rm -f "$log"
exit 0
