#!/usr/bin/env bash
# Builds the Dockerfile and proves the image, on Debian or Ubuntu without a container engine: buildah with chroot isolation
# builds, on a base that debootstrap makes; the result runs under what a careful operator would give it (a user that is not
# root, a root file system that cannot be written, only /tmp) and is asked over HTTP.
#
#   make prove-image           or:  sudo deploy/prove-image.sh PHOTO_WITH_ONE_FACE [BUILDAH BUILD OPTIONS ...]
#   sudo deploy/prove-image.sh photo.jpg --build-arg EXTRAS=openvino --build-arg SKIP_TESTS=1
#
# Needs root, and the packages buildah, debootstrap, curl and util-linux. Takes some minutes and 3 GB under WORK.
#   WORK            where the base and the images are kept           (/var/tmp/prove-image)
#   DEBIAN_MIRROR   where debootstrap and apt fetch from             (http://deb.debian.org/debian)
#   BASE_IMAGE      an image to build on; without it, Debian 12 made here
#   CA_BUNDLE       certificates that pip trusts while building      (/etc/ssl/certs/ca-certificates.crt)
#   PIP_INDEX_URL   the package index, where it is not the usual one
set -euo pipefail
cd "$(dirname "$0")/.."

photo=$(realpath "${1:?usage: deploy/prove-image.sh PHOTO_WITH_ONE_FACE [BUILDAH BUILD OPTIONS ...]}")
shift
work=${WORK:-/var/tmp/prove-image}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
certificates=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
image=localhost/embedding-calculator:proof
base=${BASE_IMAGE:-localhost/debian:bookworm}
export BUILDAH_ISOLATION=chroot

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
store() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }

[[ $EUID == 0 ]] || fail "needs root: buildah's chroot isolation and read-only mounts do"
for tool in buildah debootstrap curl unshare; do
  command -v "$tool" >/dev/null || fail "needs $tool (apt-get install buildah debootstrap curl util-linux)"
done
mkdir -p "$work"

if [[ -z ${BASE_IMAGE:-} ]] && ! store inspect --type image "$base" >/dev/null 2>&1; then
  say "The base: Debian 12 without Python, by debootstrap"
  rm -rf "$work/debian"
  debootstrap --variant=minbase bookworm "$work/debian" "$mirror" >"$work/debootstrap.log"
  container=$(store from scratch)
  store copy --quiet "$container" "$work/debian" / >/dev/null
  store commit --quiet "$container" "$base" >/dev/null
  store rm "$container" >/dev/null
  rm -rf "$work/debian"
fi

say "The build"
printf '[global]\ncert = /run/certificates.crt\n' >"$work/pip.conf"
if [[ -n ${PIP_INDEX_URL:-} ]]; then printf 'index-url = %s\n' "$PIP_INDEX_URL" >>"$work/pip.conf"; fi
started=$SECONDS
store build --format docker --layers --tag "$image" --build-arg "BASE_IMAGE=$base" \
  --secret "id=pip_conf,src=$work/pip.conf" --volume "$certificates:/run/certificates.crt:ro" "$@" .
echo "built in $((SECONDS - started)) s"

container=$(store from --pull-never "$image")
root=$(store mount "$container")
service=""
finish() {
  if [[ -n $service ]]; then kill -KILL "$service" 2>/dev/null || true; fi
  store umount "$container" >/dev/null
  store rm "$container" >/dev/null
  # What the overlay driver leaves mounted would keep WORK from being removed.
  umount --recursive "$work/storage/overlay" 2>/dev/null || true
}
trap finish EXIT
config() { store inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$image" | sed '/^$/d'; }

say "What is in it"
user=$(store inspect --type image --format '{{.Docker.Config.User}}' "$image")
[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "the user is '$user', not a number other than root's"
for compiler in gcc cc g++ clang make; do
  ! chroot "$root" sh -c "command -v $compiler" || fail "there is a compiler: $compiler"
done
[[ -n $(config Healthcheck.Test) ]] || fail "no HEALTHCHECK"
echo "user $user, no compilers, tests: $(cat "$root/usr/share/embedding-calculator/tests"), $(du -sm "$root" | cut -f1) MB," \
  "of them $(du -sm "$root/opt/venv" | cut -f1) MB packages and $(du -sm "$root/opt/models" | cut -f1) MB models"

say "It runs: as $user, everything but /tmp read-only"
port=${PORT:-33000}
mapfile -t environment < <(config Env)
mapfile -t command < <(config Entrypoint && config Cmd)
# The service is process 1 of its own process namespace, as in a container.
unshare --mount --pid --fork --kill-child bash -euc '
  root=$1 user=$2; shift 2
  mount --bind "$root" "$root"
  mount --bind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -o remount,bind,ro "$root"
  exec chroot --userspec="$user" "$root" env -i "$@"
' inside "$root" "$user" "${environment[@]}" "ML_HOST=127.0.0.1" "ML_PORT=$port" "${command[@]}" >"$work/service.log" 2>&1 &
service=$!
url=http://127.0.0.1:$port
for _ in $(seq 240); do
  if curl --silent --fail "$url/readyz" >/dev/null || ! kill -0 "$service" 2>/dev/null; then break; fi
  sleep 0.25
done
curl --silent --fail "$url/readyz" >/dev/null || { cat "$work/service.log"; fail "it does not answer"; }
pid=$(pgrep --parent "$service")
inside() { nsenter --target "$pid" --mount --root --wd -S "${user%:*}" -G "${user#*:}" env -i "${environment[@]}" "ML_PORT=$port" "$@"; }
memory() { awk '/^VmRSS/ {printf "%d MB", $2 / 1024}' "/proc/$pid/status"; }

[[ $(stat --format %u "/proc/$pid") == "${user%:*}" ]] || fail "it runs as another user"
! inside sh -c 'touch /opt/models/x || touch /x' 2>/dev/null || fail "its files can be written"
curl --silent --fail "$url/status"
echo "ready: $(memory)"
mapfile -t check < <(config Healthcheck.Test | tail -n +2)
inside "${check[@]}" || fail "the HEALTHCHECK of the image fails on a healthy service"
! inside ML_PORT=1 "${check[@]}" || fail "the HEALTHCHECK of the image succeeds without a service"

answer=$(curl --silent --fail --form "file=@$photo" "$url/find_faces?face_plugins=calculator,landmarks,gender,age,pose")
faces=$(grep --only-matching '"box":' <<<"$answer" | wc -l)
sed -E 's/"embedding":\[[^]]*\]/"embedding":[...]/' <<<"$answer"
[[ $faces == 1 && $answer == *'"embedding":'* ]] || fail "expected one face with an embedding in $photo, got $faces"
echo "after the photo: $(memory)"

kill -TERM "$pid"
for _ in $(seq 40); do
  kill -0 "$service" 2>/dev/null || break
  sleep 0.25
done
! kill -0 "$service" 2>/dev/null || fail "it does not stop on SIGTERM"
wait "$service" || fail "it ends with status $? on SIGTERM"
service=""
say "Proven: $image"
