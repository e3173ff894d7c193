#!/usr/bin/env bash
# Checks our #include lines against the dependency order of agent/ARCHITECTURE.md: what stands on the left never includes what stands
# on the right, and each third-party library has its files.
#
#   base <- loop, config, mqtt_packet <- parsers, outputs, spool, broker, mqtt_client, status <- ingest, delivery <- wiring <- commands
#
# usage: tests/layers.sh [ROOT]        prints offending lines; exit 1 when there are any
#        tests/layers.sh --self-test   plants one violation per rule and checks that each is caught
set -euo pipefail

check() {
    cd "$1"
    find agent parsers outputs config -type f \( -name '*.c' -o -name '*.h' \) 2>/dev/null | LC_ALL=C sort | xargs -r awk '
        function module(path,  part, n) {
            n = split(path, part, "/")
            if (part[1] != "agent") return part[1]
            if (n > 2) return part[2]
            return part[2] ~ /^main\./ ? "main" : "wiring" # the only files directly in agent/
        }
        function offend(why) { printf "%s:%d: %s\n    %s\n", FILENAME, FNR, why, $0; bad = 1 }

        # Our own headers: a lower layer, or the same module.
        function check_ours(to,  from, target) {
            from = module(FILENAME); target = module(to)
            if (!(target in layer)) { offend("no such module: " target); return }
            if (from == target) return
            if (layer[target] >= layer[from]) { offend(from " must not include " target); return }
            if ((from == "parsers" || from == "outputs") && target != "base" && to != "config/schema.h")
                offend(from " sees agent/base and config/schema.h only")
            if (from == "ingest" && target == "parsers" && to != "parsers/parser.h")
                offend("ingest sees parsers/parser.h, no concrete parser")
            if (from == "delivery" && target == "outputs" && to != "outputs/output.h")
                offend("delivery sees outputs/output.h, no concrete output")
        }

        # Third-party headers: one library, one place, and never in a header of ours.
        function check_library(header,  i) {
            for (i = 1; i <= libraries; i++) {
                if (header !~ pattern[i]) continue
                if (FILENAME !~ place[i]) offend(name[i] " belongs to " words[i])
                else if (FILENAME ~ /\.h$/) offend(name[i] " must stay out of our headers")
            }
        }
        function library(n, p, where, w) { libraries++; name[libraries] = n; pattern[libraries] = p; place[libraries] = where; words[libraries] = w }

        BEGIN {
            split("base:0 loop:1 config:1 mqtt_packet:1 parsers:2 outputs:2 spool:2 broker:2 mqtt_client:2 status:2 ingest:3 delivery:3 " \
                  "wiring:4 commands:5 main:6", rows, " ")
            for (i in rows) { split(rows[i], cell, ":"); layer[cell[1]] = cell[2] + 0 }
            library("Paho",       "^MQTT",                 "^agent/mqtt_client/",               "agent/mqtt_client/")
            library("libcurl",    "^curl/",                "^outputs/http\\.c$",                "outputs/http.c")
            library("libyaml",    "^yaml\\.h$",            "^config/yaml_tree\\.c$",            "config/yaml_tree.c")
            library("libevent",   "^(event2/|ev[a-z]+\\.h)", "^agent/(loop|status|broker)/",    "agent/loop/, agent/status/ and agent/broker/")
            library("libdeflate", "^libdeflate\\.h$",      "^outputs/gzip\\.c$",                "outputs/gzip.c")
            library("zlib",       "^zlib\\.h$",            "^outputs/gzip\\.c$",                "outputs/gzip.c")
            library("SQLite",     "^sqlite3\\.h$",         "^agent/broker/store[a-z_]*\\.c$",  "agent/broker/store*.c")
            library("libargon2",  "^argon2\\.h$",          "^agent/broker/password_hash\\.c$", "agent/broker/password_hash.c")
            library("OpenSSL",    "^openssl/",             "^agent/(broker|mqtt_client)/",      "agent/broker/ and agent/mqtt_client/")
            library("cJSON",      "^(cjson/)?cJSON\\.h$",  "\\.c$",                             "source files")
        }
        /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
            header = $0
            sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", header)
            sub(/[>"].*$/, "", header)
            if ($0 ~ /include[ \t]*"/ && header !~ /\//) offend("our headers are included by their path from the top")
            else if (header ~ /^(agent|parsers|outputs|config)\//) check_ours(header)
            else check_library(header)
        }
        END { exit bad }'
}

# Each row: file, include line, and words that the complaint must contain; "-" for a line that is fine.
self_test() {
    local root status=0 file line want got
    root=$(mktemp -d)
    trap 'rm -rf "$root"' RETURN
    while IFS='|' read -r file line want; do
        rm -rf "${root:?}"/*
        mkdir -p "$root"/{agent,parsers,outputs,config} "$root/$(dirname "$file")"
        printf '%s\n' "$line" >"$root/$file"
        got=$( (check "$root") 2>&1 || true)
        if [ "$want" = - ] && [ -n "$got" ]; then
            echo "layers self-test: complained about a good line: $file: $line: $got"; status=1
        elif [ "$want" != - ] && [[ "$got" != *"$want"* ]]; then
            echo "layers self-test: not caught: $file: $line (wanted '$want', got '$got')"; status=1
        fi
    done <<'ROWS'
agent/base/x.c|#include "config/schema.h"|base must not include config
agent/loop/x.c|#include "config/schema.h"|loop must not include config
parsers/x.c|#include "outputs/output.h"|parsers must not include outputs
outputs/x.c|#include "parsers/parser.h"|outputs must not include parsers
parsers/x.c|#include "agent/loop/loop.h"|parsers sees agent/base
outputs/x.c|#include "config/yaml_tree.h"|outputs sees agent/base
agent/mqtt_packet/x.c|#include "agent/loop/loop.h"|mqtt_packet must not include loop
agent/mqtt_packet/x.c|#include <event2/buffer.h>|libevent belongs to
agent/spool/x.c|#include "outputs/output.h"|spool must not include outputs
agent/ingest/x.c|#include "agent/delivery/delivery.h"|ingest must not include delivery
agent/ingest/x.c|#include "parsers/json.h"|no concrete parser
agent/delivery/x.c|#include "outputs/http.h"|no concrete output
agent/mqtt_client/x.c|#include "agent/ingest/ingest.h"|mqtt_client must not include ingest
agent/broker/x.c|#include "agent/ingest/ingest.h"|broker must not include ingest
agent/broker/x.c|#include "agent/mqtt_client/source.h"|broker must not include mqtt_client
agent/wiring.c|#include "agent/commands/commands.h"|wiring must not include commands
agent/commands/x.c|#include "agent/main.h"|commands must not include main
agent/base/x.c|#include "str.h"|by their path
agent/base/x.c|#include "agent/nonsense/x.h"|no such module
agent/ingest/x.c|#include <MQTTAsync.h>|Paho belongs to
outputs/file.c|#include <curl/curl.h>|libcurl belongs to
config/load.c|#include <yaml.h>|libyaml belongs to
agent/delivery/x.c|#include <event2/event.h>|libevent belongs to
outputs/http.c|#include <libdeflate.h>|libdeflate belongs to
agent/spool/x.c|#include <sqlite3.h>|SQLite belongs to
agent/broker/passwords.c|#include <argon2.h>|libargon2 belongs to
outputs/http.c|#include <openssl/ssl.h>|OpenSSL belongs to
agent/broker/tls.h|#include <openssl/ssl.h>|out of our headers
agent/mqtt_client/x.h|# include <MQTTAsync.h>|out of our headers
agent/status/x.h|#include <event2/http.h>|out of our headers
parsers/x.h|#include <cjson/cJSON.h>|cJSON belongs to
agent/mqtt_client/x.c|#include <MQTTAsync.h>|-
agent/broker/x.c|#include "agent/mqtt_packet/packet.h"|-
agent/base/x.c|#include <string.h>|-
parsers/x.c|#include "config/schema.h"|-
agent/delivery/x.c|#include "outputs/output.h"|-
agent/commands/x.c|#include "agent/wiring.h"|-
agent/main.c|#include "agent/commands/commands.h"|-
agent/loop/x.c|#include <event2/event.h>|-
agent/base/x.c|// #include "config/schema.h" in a comment|-
ROWS
    [ $status = 0 ] && echo "layers self-test: every planted violation was caught"
    return $status
}

if [ "${1:-}" = --self-test ]; then
    self_test
else
    check "${1:-$(dirname "$0")/..}"
fi
