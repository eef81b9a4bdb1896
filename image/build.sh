#!/usr/bin/env bash
# Builds the image of the Dockerfile as localhost/zerotrust-broker:latest, without a daemon; layers that are there are taken again.
#
#   image/build.sh            over a Debian 12 that mmdebstrap makes from where this machine's own packages come from
#   BASE=NAME image/build.sh  over NAME, pulled where it is not there: debian:bookworm-slim, best by its digest
#
# Where this machine gets Python packages, and whose certificates it trusts, is told to the build beside the Dockerfile: nothing
# of it is in the image. What buildah keeps lies in .venv/image, apart from other images of this machine. Needs root.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
here="$PWD/.venv/image"
name=localhost/zerotrust-broker
own_base=localhost/zerotrust-base:bookworm
export BUILDAH_ISOLATION=chroot

if [[ "$(id -u)" != 0 ]]; then
    echo "image: become root, or build with your own tool: docker build ." >&2
    exit 1
fi

mkdir -p "$here"
here() { buildah --root "$here/storage" --runroot "$here/run" "$@"; }

make_base() {
    local tree="$here/base.tar" container
    # shellcheck disable=SC2016  # apt's own variables
    apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort --unique |
        mmdebstrap --quiet --variant=minbase \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' '' "$tree" -
    container="$(here from scratch)"
    here add --quiet "$container" "$tree" / >/dev/null
    here commit --quiet --rm "$container" "$own_base" >/dev/null
    rm -f "$tree"
}

# What this machine's pip is told, for the pip in there.
tell_pip() {
    local told="$here/machine" index
    mkdir -p "$told"
    cp --dereference /etc/ssl/certs/ca-certificates.crt "$told/ca.crt"
    index="$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)"
    {
        printf '[global]\ncert = /run/machine/ca.crt\n'
        [[ -z $index ]] || printf 'index-url = %s\n' "$index"
    } >"$told/pip.conf"
}

started=$SECONDS
pull=--pull
if [[ -z ${BASE:-} ]]; then
    BASE=$own_base pull=--pull-never
    here inspect --type image "$BASE" >/dev/null 2>&1 || make_base
fi
tell_pip
# The Docker format: OCI's knows no health check.
here build --quiet --layers --format docker "$pull" --build-arg BASE="$BASE" \
    --volume "$here/machine:/run/machine:ro" --volume "$here/machine/pip.conf:/etc/pip.conf:ro" \
    --tag "$name:latest" . >"$here/build.log" 2>&1 || {
    cat "$here/build.log" >&2
    exit 1
}
size="$(here images --format '{{.Size}}' "$name:latest")"
echo "image: $name:latest, $size, in $((SECONDS - started)) s"
