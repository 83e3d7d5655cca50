#!/usr/bin/env bash
# Usage: ./run.sh [uvicorn's options]     install what is missing, then serve on http://127.0.0.1:8000
#        ./run.sh install                 install what is missing, and no more
#        ./run.sh check PATH [TEXT]       say what the model at PATH is, and let it speak TEXT into a WAV beside it
#        ./run.sh test [pytest's options] install the test requirements too, then run every check
#
# From the environment, each with its default:
#   HOST=127.0.0.1  PORT=8000  MODELS=models.toml
#   GRACE_S=10      seconds for requests under way when the server is told to stop
#   MAX_HEAD_BYTES=81920  longest request line with its headers: 64 KiB for the query, 16 for the rest
#   ONEDNN_PRIMITIVE_CACHE_CAPACITY=2048  LRU_CACHE_CAPACITY=1
#   LD_PRELOAD=jemalloc, where there is one (LD_PRELOAD= keeps glibc's allocator)  MALLOC_CONF: see below
#   PYTHON=the first python3 of version 3.11 or newer
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu (or a mirror of it)
#
# deploy/defaults.py reads the lines below that begin with `: "${`, so each default stands here and nowhere else.
set -euo pipefail

# A standard stream that the caller has closed would be taken by the next file or socket, as bash takes it for this file.
is_open() { [ ! -d /dev/fd ] || { [ -e "/dev/fd/$1" ] && ! [ "/dev/fd/$1" -ef "${BASH_SOURCE[0]}" ]; }; }
is_open 0 || exec </dev/null
is_open 1 || exec >/dev/null
is_open 2 || exec 2>/dev/null

# The folder of this file, also where a symbolic link leads to it. macOS long had no `readlink -f`.
file=${BASH_SOURCE[0]}
while [ -L "$file" ]; do
    target=$(readlink -- "$file")
    case $target in
        /*) file=$target ;;
        *) file=$(dirname -- "$file")/$target ;;
    esac
done
case ${MODELS:=} in
    "" | /*) ;;
    *) MODELS=$PWD/$MODELS ;;
esac
unset CDPATH
cd -P -- "$(dirname -- "$file")"

: "${MODELS:=$PWD/models.toml}"
: "${HOST:=127.0.0.1}"
: "${PORT:=8000}"
: "${GRACE_S:=10}"
: "${MAX_HEAD_BYTES:=81920}"
: "${TORCH_INDEX:=https://download.pytorch.org/whl/cpu}"

# oneDNN keeps one compiled primitive for each operator and input shape. This service computes audio in windows of a few
# fixed shapes: a full-size voice needs about 310 primitives, or 590 where it tries bfloat16 beside float32, and a second
# voice of the same layout no more. So the cache stays small by itself and every call hits. With 0 it would stay small
# too, but oneDNN would compile every convolution again at every call, which takes about twice the time. The second is
# ideep's, per thread; 0 can crash it, 1 costs nothing.
: "${ONEDNN_PRIMITIVE_CACHE_CAPACITY:=2048}"
: "${LRU_CACHE_CAPACITY:=1}"

# jemalloc holds about a tenth less than glibc's allocator here; the settings make little difference (bench/README.md).
: "${MALLOC_CONF:=narenas:2,background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:5000}"

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

SYSTEM=$(uname -s)

PYTHONS=(${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11)

find_python() {
    local python
    for python in "${PYTHONS[@]}"; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    die "Python 3.11 or newer is needed: apt install python3 python3-venv"
}

make_venv() {
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments: apt install python3-venv"
    say "Making .venv with $("$python" --version)"
    "$python" -m venv .venv
}

pip() { .venv/bin/python -m pip --disable-pip-version-check "$@" >&2; }

# The CPU build has an index of its own, and pip would look up every other package there too. It is therefore installed
# in a step of its own, without dependencies (requirements.txt lists them). An index that cannot be reached is given up
# at once. macOS has no other build than that for the CPU, and its version has no suffix.
install_torch() {
    local version build
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements.txt)
    build=torch==$version+cpu
    [ "$SYSTEM" != Darwin ] || build=torch==$version
    .venv/bin/python -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '$version')" \
        2>/dev/null && return
    say "Installing torch $version, CPU build"
    pip install --no-deps --retries 0 --timeout 10 --index-url "$TORCH_INDEX" "$build" && return
    say "Not found at $TORCH_INDEX; trying pip's own index"
    pip install --no-deps --retries 0 --timeout 10 "$build" && return
    die "No CPU build of torch $version was found. Set TORCH_INDEX to a mirror of https://download.pytorch.org/whl/cpu," \
        "or accept gigabytes of CUDA: .venv/bin/python -m pip install torch==$version"
}

# fingerprint FILE...: what an installation depends on: the requirements, and the Python that they were installed for.
fingerprint() {
    cksum -- "$@"
    readlink -f .venv/bin/python 2>/dev/null || echo unknown
}

# is_installed STAMP FILE...: whether .venv/STAMP says that just what is in FILEs is installed.
is_installed() {
    local stamp=.venv/$1
    shift
    [ -e "$stamp" ] && [ "$(fingerprint "$@")" = "$(<"$stamp")" ]
}

# Wait until no other run.sh installs in this folder. Python takes the lock, because only some systems have flock(1); the
# lock belongs to descriptor 9 and lasts until that is closed here.
lock() {
    local python
    exec 9<.
    for python in .venv/bin/python "${PYTHONS[@]}"; do
        command -v "$python" >/dev/null || continue
        "$python" -c 'if True:
            import fcntl, sys
            try:
                fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("run.sh: Waiting for another run.sh that is installing here", file=sys.stderr)
                fcntl.flock(9, fcntl.LOCK_EX)' && return
    done
    say "This folder could not be locked; do not start a second run.sh here until this one has installed"
}

unlock() { exec 9<&-; }

# install STAMP FILE...: install the requirements in FILEs, unless that was done before.
install() {
    ! is_installed "$@" || return 0
    lock
    if ! is_installed "$@"; then
        local stamp=.venv/$1
        shift
        .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
        install_torch
        say "Installing what $* list"
        pip install --quiet "${@/#/--requirement=}"
        fingerprint "$@" >"$stamp"
    fi
    unlock
}

# Installed libraries come first. The one in .venv has a relative path: LD_PRELOAD takes spaces for separators.
find_jemalloc() {
    local machine folder
    machine=$(uname -m)
    for folder in "/usr/lib/$machine-linux-gnu" /usr/lib64 /usr/local/lib .venv/jemalloc; do
        if [ -e "$folder/libjemalloc.so.2" ]; then
            echo "$folder/libjemalloc.so.2"
            return
        fi
    done
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null |
        awk -v machine="${machine/_/-}" 'tolower($0) ~ machine && /libjemalloc\.so\.2 / { print $NF; exit }' || true
}

# Unpack the library of Debian's package into .venv/jemalloc, which needs no root. Whether that worked or not, it is not
# tried again before the next installation: a machine without a network would wait for it at every start.
may_fetch_jemalloc() {
    [ .venv/installed -nt .venv/jemalloc/tried ] && [ -w .venv ] &&
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null
}

fetch_jemalloc() {
    local folder
    mkdir -p .venv/jemalloc
    folder=$(mktemp -d)
    if (
        cd -- "$folder" &&
            apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 \
                download libjemalloc2 &&
            dpkg-deb --extract libjemalloc2_*.deb .
    ) >/dev/null 2>&1; then
        cp -- "$folder"/usr/lib/*/libjemalloc.so.2 .venv/jemalloc/partial
        mv -- .venv/jemalloc/partial .venv/jemalloc/libjemalloc.so.2
    fi
    rm -rf -- "$folder"
    touch .venv/jemalloc/tried
}

# jemalloc, unless the user has chosen. On macOS that would be DYLD_INSERT_LIBRARIES, which is left as it is.
preload_jemalloc() {
    if [ -n "${LD_PRELOAD+set}" ] || [ "$SYSTEM" = Darwin ]; then return; fi
    LD_PRELOAD=$(find_jemalloc)
    if [ -z "$LD_PRELOAD" ] && may_fetch_jemalloc; then
        lock
        ! may_fetch_jemalloc || fetch_jemalloc
        unlock
        LD_PRELOAD=$(find_jemalloc)
    fi
    [ -n "$LD_PRELOAD" ] ||
        say "jemalloc is missing, so less memory is given back to the system: apt install libjemalloc2"
    export LD_PRELOAD
}

run_checks() {
    local python=.venv/bin/python failed=0
    "$python" -m ruff check . || failed=1
    "$python" -m ruff format --check . || failed=1
    "$python" -m mypy || failed=1
    if command -v shellcheck >/dev/null; then
        shellcheck run.sh .ci/run || failed=1
    elif [ "${CI:-}" = true ]; then
        say "shellcheck is missing"
        failed=1
    else
        say "Skipped shellcheck: apt install shellcheck"
    fi
    # Two at once, for most tests wait for a server or a browser half of their time.
    "$python" -m pytest --numprocesses 2 --dist loadfile "$@" || failed=1
    return "$failed"
}

install installed requirements.txt

case ${1:-} in
    install) exit ;;
    check)
        shift
        exec .venv/bin/python -m vits.check "$@"
        ;;
    test)
        shift
        install installed-test requirements.txt vits/text/requirements-espeak.txt service/requirements-formats.txt \
            service/requirements-watch.txt deploy/requirements-gunicorn.txt \
            tests/requirements.txt bench/requirements.txt
        # Ray takes 240 MB, so its tests run only where every test must.
        [ "${CI:-}" != true ] || install installed-ray requirements.txt deploy/requirements-ray.txt
        run_checks "$@"
        exit
        ;;
esac

preload_jemalloc
export ONEDNN_PRIMITIVE_CACHE_CAPACITY LRU_CACHE_CAPACITY MALLOC_CONF MODELS
# uvicorn would take httptools, uvloop and websockets where another package has installed them, with other limits and logs.
exec .venv/bin/python -m uvicorn --factory server:create_app_from_environment --host "$HOST" --port "$PORT" \
    --http service.connections:Connections --loop asyncio --ws none --backlog 32 \
    --timeout-graceful-shutdown "$GRACE_S" --h11-max-incomplete-event-size "$MAX_HEAD_BYTES" "$@"
