#!/usr/bin/env bash
# Puts a CPython that is newer than the machine's own into a folder, out of Debian's unstable
# distribution. Nothing outside of the folder changes: it brings its own C library.
#
# usage: python.sh 3.14 FOLDER    (as root on Debian, with patchelf; prints the interpreter)
set -euo pipefail
version="$1"
mkdir -p "$2"
folder="$(cd "$2" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
arch="$(uname -m)-linux-gnu"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Where this machine gets its own packages from.
mirror="$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)"
mkdir -p "$work"/{lists/partial,cache/archives/partial,packages}
echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} sid main" >"$work/sources.list"
apt=(apt-get -qq
  -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache"
  -o APT::Sandbox::User=root)
"${apt[@]}" update >&2
cd "$work/packages"
"${apt[@]}" download \
  "python$version" "python$version-minimal" "python$version-venv" "libpython$version-minimal" \
  "libpython$version-stdlib" "python$version-dev" "libpython$version-dev" python3-pip-whl \
  libc6 libgcc-s1 libstdc++6 libbz2-1.0 libexpat1 libffi8 liblzma5 libncursesw6 libreadline8t64 \
  libsqlite3-0 libssl3t64 libtinfo6 libuuid1 libzstd1 zlib1g >&2
for package in *.deb; do dpkg-deb -x "$package" "$folder"; done

python="$folder/usr/bin/python$version"
patchelf --set-interpreter "$folder/usr/lib/$arch/$(basename "$(patchelf --print-interpreter "$python")")" \
  --force-rpath --set-rpath "$folder/usr/lib/$arch" "$python"
# Where Debian's Python looks for the wheel of pip, and where its header looks for the machine's.
sed -i "s#'/usr/share/python-wheels/'#'$folder/usr/share/python-wheels/'#" \
  "$folder/usr/lib/python$version"/_sysconfigdata_*.py
cp "$folder/usr/include/$arch/python$version/pyconfig.h" "$folder/usr/include/python$version/"
"$python" -c 'import ssl, ctypes, venv'
echo "$python"
