#!/bin/sh
# Makes a directory with a virtual machine in it: make-image.sh DIRECTORY TREE...
#
# kernel and initramfs are what qemu starts. disk is a file system of Debian with all that is in guest/, and with the
# trees in /var/cache/nspawn-test.
set -eu
directory=$1
root=$1/root
shift
here=$(dirname "$(realpath "$0")")

# The systemd host; then what tests call.
packages='
  linux-image-amd64 systemd systemd-sysv systemd-container udev dbus dbus-user-session libpam-systemd libnss-mymachines
  kmod mount login passwd libstdc++6 tzdata
  iproute2 iputils-ping procps util-linux util-linux-extra libcap2-bin attr acl uidmap strace busybox-static
  e2fsprogs btrfs-progs xfsprogs dosfstools squashfs-tools erofs-utils fdisk gdisk
  selinux-policy-default policycoreutils'

mkdir "$directory"
# INITRD=No: Debian's initramfs takes long to make and to start.
INITRD=No mmdebstrap --mode=root --variant=minbase --dpkgopt="$here/dpkg.cfg" \
  --include="$(echo $packages | tr ' ' ,)" bookworm "$root"

# An initramfs that knows one disk.
initramfs=$(mktemp -d)
trap 'rm -rf "$initramfs"' EXIT
mkdir "$initramfs/dev" "$initramfs/root"
cp "$root/bin/busybox" "$initramfs"
version=$(ls "$root/usr/lib/modules")
{
  echo '#!/busybox sh'
  echo '/busybox mount -t devtmpfs dev /dev'
  for module in virtio_pci virtio_blk ext4; do chroot "$root" modprobe -S "$version" --show-depends "$module"; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    cp "$root/usr$file" "$initramfs"
    echo "/busybox insmod $(basename "$file")"
  done
  echo '/busybox mount -t ext4 /dev/vda /root && /busybox umount /dev && exec /busybox switch_root /root /sbin/init'
} >"$initramfs/init"
chmod 755 "$initramfs/init"
(cd "$initramfs" && find . | ./busybox cpio -o -H newc) >"$directory/initramfs"
mv "$root"/boot/vmlinuz-* "$directory/kernel"
rm -r "${root:?}/boot"/*

cp -R "$here/guest/." "$root"
mkdir -p "$root/checkout" "$root/vm" "$root/var/cache/nspawn-test"
chroot "$root" useradd --create-home --shell /bin/bash guest
chroot "$root" systemctl enable vm-command.service
# Nobody logs in, and nothing is to start while tests run.
chroot "$root" systemctl mask getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
  e2scrub_all.timer e2scrub_reap.service systemd-tmpfiles-clean.timer systemd-timesyncd.service
# Labels for the boots with SELinux; nothing is to relabel and start again.
chroot "$root" systemctl mask selinux-autorelabel-mark.service selinux-autorelabel.service
labels='mount -t proc proc "$1/proc" && chroot "$1" setfiles -e /proc /etc/selinux/default/contexts/files/file_contexts /'
unshare --mount sh -c "$labels" sh "$root"
cp -a "$@" "$root/var/cache/nspawn-test"

mkfs.ext4 -q -O ^has_journal -d "$root" "$directory/disk" 6G
rm -r --one-file-system "$root"
