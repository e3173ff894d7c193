#!/usr/bin/env bash
# Compiles every header of ours alone, with gcc and with clang: a header includes what it needs.
#
# usage: tests/headers.sh [ROOT]        prints the compilers' complaints; exit 1 when there are any
#        tests/headers.sh --self-test   checks that a header that leans on its includer is caught
set -euo pipefail

check() {
    cd "$1"
    local flags
    flags="-std=c11 -D_POSIX_C_SOURCE=200809L -I. -Wall -Wextra -Wundef -Wstrict-prototypes -Werror $(
        pkg-config --cflags libcurl libcjson yaml-0.1 libevent libssl 2>/dev/null || true)"
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || { echo "headers: $compiler is not installed" >&2; return 1; }
        find agent parsers outputs config -name '*.h' -printf "$compiler %p\n"
    done | FLAGS=$flags xargs -r -P 2 -L 1 sh -c '
        printf "#include \"%s\"\nint nothing_else;\n" "$1" | $0 $FLAGS -fsyntax-only -x c - 2>&1 || { echo "^ $1 alone, with $0"; exit 1; }'
}

self_test() {
    local root
    root=$(mktemp -d)
    trap 'rm -rf "$root"' RETURN
    mkdir -p "$root"/{agent/base,parsers,outputs,config}
    printf '#include <stdint.h>\nuint8_t fine(void);\n' >"$root/agent/base/fine.h"
    (check "$root") >/dev/null 2>&1 || { echo "headers self-test: refused a good header"; return 1; }
    printf 'uint8_t leans(void);\n' >"$root/agent/base/leans.h"
    if (check "$root") >/dev/null 2>&1; then
        echo "headers self-test: a header that leans on its includer was not caught"; return 1
    fi
    echo "headers self-test: a header that leans on its includer was caught"
}

if [ "${1:-}" = --self-test ]; then
    self_test
else
    check "${1:-$(dirname "$0")/..}"
fi
