#!/bin/sh
# Builds images of Graft without a Docker daemon: buildah, over a base that debootstrap makes of Debian.
#   sh deploy/images/build.sh STORE [TARGET...]     targets of the Dockerfile; serve where none is named
# STORE is a folder for the images; `buildah --root STORE/images --runroot STORE/run --storage-driver vfs images` lists
# them. A base that lies there already is taken again. Needs root, debootstrap and buildah, Debian's mirror
# (DEBIAN_MIRROR) and the package index.
set -eu
store=${1:?"expected: build.sh STORE [TARGET...]"}
shift
[ $# -gt 0 ] || set -- serve
[ "$(id -u)" = 0 ] || { echo "build.sh needs root: debootstrap makes device files and owners." >&2; exit 2; }
source=$(cd "$(dirname "$0")/../.." && pwd)
suite=${DEBIAN_SUITE:-bookworm} mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$store"
store=$(cd "$store" && pwd)

buildah() { command buildah --root "$store/images" --runroot "$store/run" --storage-driver vfs "$@"; }

if ! buildah inspect --type image localhost/graft-base > /dev/null 2>&1; then
    # In memory where that can be had: dpkg waits for the disk after each file.
    mkdir -p "$store/base"
    if mount -t tmpfs -o size=1g tmpfs "$store/base" 2> /dev/null; then
        # Lazily: where somebody just looks into it, it would stay mounted, and the build would fail.
        trap 'umount --lazy "$store/base"; rmdir "$store/base"' EXIT
    else
        trap 'rm -rf "$store/base"' EXIT
    fi
    root=$store/base/root
    include=ca-certificates,python3,python3-pip,python3-venv
    if ! debootstrap --variant=minbase --include=$include "$suite" "$root" "$mirror"; then
        echo "build.sh: debootstrap could not make a base from $mirror; DEBIAN_MIRROR names another mirror." >&2
        exit 3
    fi
    ln -s python3 "$root/usr/bin/python"
    # In an image nothing else manages Python's packages.
    rm -rf "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    # Whom this machine trusts, and where it finds the package index.
    for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
        if [ -e "$file" ]; then cp -L "$file" "$root$file"; fi
    done
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" /
    buildah commit --quiet "$container" localhost/graft-base
    buildah rm "$container" > /dev/null
fi

for target in "$@"; do
    buildah build --isolation chroot --layers=false --pull-never --format docker \
        --build-arg PYTHON=localhost/graft-base --target "$target" --tag "localhost/graft:$target" "$source"
done
