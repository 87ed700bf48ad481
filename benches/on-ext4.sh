#!/usr/bin/env bash
# Runs the benchmark table on an ext4 with a journal, made for it in a file and mounted as a loop
# device; for machines whose own file system has none. Needs root, e2fsprogs, and 14 GiB of disk
# beside this machine's temporary directory (or under IMAGE_DIR), of which the workspaces of a full
# run take most: IMAGE_MIB=8192 does for all else. Arguments go to the table:
#   benches/on-ext4.sh --quick workspace
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

image_mib=${IMAGE_MIB:-14336}
home=$(mktemp -d "${IMAGE_DIR:-${TMPDIR:-/tmp}}/stateward-ext4.XXXXXX")
# PostgreSQL does not run as root and has to get through.
chmod 711 "$home"
mounted=

cleanup() {
    # A child of an interrupted run may hold the mount for a moment.
    for _ in 1 2 3 4 5; do
        [[ -z $mounted ]] || umount "$home/mount" && mounted= && break
        sleep 1
    done
    [[ -n $mounted ]] || rm -rf -- "$home"
}
trap cleanup EXIT

cargo bench --bench table --no-run

# Written, not left as a hole: a sync in the image then writes data and allocates nothing beneath.
dd if=/dev/zero of="$home/image" bs=1M count="$image_mib" conv=fsync status=none
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$home/image"
mkdir "$home/mount"
mount -o loop "$home/image" "$home/mount"
mounted=yes

cargo bench --bench table -- --dir "$home/mount" "$@"
