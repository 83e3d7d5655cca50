#!/usr/bin/env bash
# Usage: ./run.sh [uvicorn's options]     install what is missing, then serve on http://127.0.0.1:8000
#        ./run.sh install                 install what is missing, and no more
#        ./run.sh test [pytest's options] install the test requirements too, then run every check
#
# From the environment, each with its default:
#   HOST=127.0.0.1  PORT=8000  MODELS=models.toml
#   GRACE_S=10      seconds that requests under way are given when the server is told to stop
#   ONEDNN_PRIMITIVE_CACHE_CAPACITY=512  LRU_CACHE_CAPACITY=1
#   LD_PRELOAD=jemalloc, where it is installed (LD_PRELOAD= keeps glibc's allocator)  MALLOC_CONF: see below
#   PYTHON=the first python3 of version 3.11 or newer
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu (or a mirror of it)
set -euo pipefail

MODELS=$(realpath -m -- "${MODELS:-$(dirname -- "${BASH_SOURCE[0]}")/models.toml}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

: "${HOST:=127.0.0.1}"
: "${PORT:=8000}"
: "${GRACE_S:=10}"
: "${TORCH_INDEX:=https://download.pytorch.org/whl/cpu}"

# oneDNN keeps one compiled primitive per operator and input shape. Here audio is computed in windows of a few fixed
# shapes, some 140 primitives for a voice of full size and no more for a second of the same layout, so the cache stays
# flat by itself and every call hits. 0 would stay flat too, but compile every convolution again at every call, about
# twice the time. The second is ideep's, per thread; 0 can crash it, 1 costs nothing.
: "${ONEDNN_PRIMITIVE_CACHE_CAPACITY:=512}"
: "${LRU_CACHE_CAPACITY:=1}"

# jemalloc holds about a tenth less than glibc's allocator here; the settings make little difference (bench/README.md).
: "${MALLOC_CONF:=narenas:2,background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:5000}"

say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

find_python() {
    local python
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
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

# The CPU build has an index of its own, and pip would look up every other package there too: hence a step of its own,
# without dependencies (requirements.txt lists them). An index that cannot be reached is given up at once.
install_torch() {
    local version
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements.txt)
    .venv/bin/python -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '$version')" \
        2>/dev/null && return
    say "Installing torch $version, CPU build"
    pip install --no-deps --retries 0 --timeout 10 --index-url "$TORCH_INDEX" "torch==$version+cpu" && return
    say "Not found at $TORCH_INDEX; looking where pip looks by itself"
    pip install --no-deps --retries 0 --timeout 10 "torch==$version+cpu" && return
    die "No CPU build of torch $version was found. Set TORCH_INDEX to a mirror of https://download.pytorch.org/whl/cpu," \
        "or put up with gigabytes of CUDA: .venv/bin/python -m pip install torch==$version"
}

# What an installation is of: the requirements and the Python that has them.
fingerprint() { sha256sum -- "$@"; readlink -f .venv/bin/python || true; }

# install STAMP FILE...: install the requirements in FILEs, unless .venv/STAMP says that just these are installed.
install() {
    local stamp=.venv/$1
    shift
    if [ -e "$stamp" ] && [ "$(fingerprint "$@")" = "$(<"$stamp")" ]; then return; fi
    .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
    install_torch
    say "Installing what $* list"
    pip install --quiet "${@/#/--requirement=}"
    fingerprint "$@" >"$stamp"
}

find_jemalloc() {
    local machine folder
    machine=$(uname -m)
    for folder in "/usr/lib/$machine-linux-gnu" /usr/lib64 /usr/local/lib; do
        if [ -e "$folder/libjemalloc.so.2" ]; then
            echo "$folder/libjemalloc.so.2"
            return
        fi
    done
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null |
        awk -v machine="${machine/_/-}" 'tolower($0) ~ machine && /libjemalloc\.so\.2 / { print $NF; exit }' || true
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
    "$python" -m pytest "$@" || failed=1
    return "$failed"
}

requirements=(requirements.txt requirements-languages.txt)

if [ "${1:-}" = test ]; then
    shift
    install installed "${requirements[@]}"
    install installed-test "${requirements[@]}" requirements-espeak.txt requirements-formats.txt \
        requirements-gunicorn.txt requirements-test.txt bench/requirements.txt
    run_checks "$@"
    exit
fi

install installed "${requirements[@]}"
[ "${1:-}" != install ] || exit 0
if [ -z "${LD_PRELOAD+set}" ]; then
    LD_PRELOAD=$(find_jemalloc)
    [ -n "$LD_PRELOAD" ] || say "jemalloc is missing, so memory will be given back less well: apt install libjemalloc2"
fi
export ONEDNN_PRIMITIVE_CACHE_CAPACITY LRU_CACHE_CAPACITY LD_PRELOAD MALLOC_CONF MODELS
exec .venv/bin/python -m uvicorn --factory server:create_app_from_environment \
    --host "$HOST" --port "$PORT" --timeout-graceful-shutdown "$GRACE_S" "$@"
