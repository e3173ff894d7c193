# Heliograf. Two commands: `make run` (set-up, build, the main job on loopback) and `make check` (set-up, every test).
# Targets: all run check soak bench fuzz coverage install clean deps deps-test. SANITIZE=address,undefined|thread builds apart.
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
PYTHON  ?= /usr/bin/python3
VERSION := 0.1.0
comma   := ,
B       ?= build/$(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),release)
san     := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
warn    := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wmissing-prototypes -Wstrict-prototypes -Wwrite-strings \
           -Wpointer-arith -Wundef
DEPS    := libcurl libcjson yaml-0.1 libevent libevent_pthreads libssl libcrypto libdeflate zlib sqlite3
# Optional: password files with $argon2id$. ARGON2=no builds without.
ARGON2  ?= $(shell pkg-config --exists libargon2 2>/dev/null && echo yes)
ifeq ($(strip $(ARGON2)),yes)
DEPS    += libargon2
endif
ours     = -std=c11 -D_POSIX_C_SOURCE=200809L -DHELIOGRAF_VERSION='"$(VERSION)"' -I. -MMD -MP $(warn) $(san) -pthread \
           $(if $(filter libargon2,$(DEPS)),-DHELIOGRAF_ARGON2) $(shell pkg-config --cflags $(DEPS) 2>/dev/null)
libs     = $(shell pkg-config --libs $(DEPS) 2>/dev/null) -lm -pthread

src     := $(wildcard agent/*/*.c parsers/*.c outputs/*.c config/*.c)
src     := $(filter-out %/template.c,$(src)) $(wildcard agent/wiring*.c)
obj     := $(src:%.c=$B/%.o)
lib     := $B/libheliograf.a
unit    := $(patsubst tests/unit/%.c,$B/unit/%,$(wildcard tests/unit/test_*.c))

all: $B/heliograf

include agent/mqtt_client/paho.mk

$B/heliograf: $B/agent/main.o $(lib) $(paho)
	$(CC) $(san) $(LDFLAGS) -o $@ $< $(lib) $(paho_link) $(libs)
ifeq ($(SANITIZE),)
	@cp $@ $@.debug && strip $@
endif

$(lib): $(obj)
	@rm -f $@
	@$(AR) rcs $@ $(obj)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ours) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$B/unit/%: tests/unit/%.c $(lib) $(paho)
	@mkdir -p $(@D)
	$(CC) $(ours) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(lib) $(paho_link) $(libs) -lcmocka

# One fuzz target per outside-facing surface: tests/fuzz/fuzz_X.c, seeds in tests/fuzz/seeds/X/.
fuzzers := $(patsubst tests/fuzz/%.c,$B/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$B/fuzz/%: tests/fuzz/%.c $(lib) $(paho)
	@mkdir -p $(@D)
	$(CC) $(ours) $(CPPFLAGS) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(lib) $(paho_link) $(libs)

fuzzers: $(fuzzers)

FUZZ_SECONDS ?= 600
fuzz:
	@$(MAKE) --no-print-directory deps deps-fuzz
	@$(MAKE) --no-print-directory B=build/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzzers
	@for target in $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)); do \
	    mkdir -p build/fuzz/corpus/$$target tests/fuzz/seeds/$$target; echo "== $$target"; \
	    build/fuzz/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -print_final_stats=0 \
	        -artifact_prefix=build/fuzz/$$target- build/fuzz/corpus/$$target tests/fuzz/seeds/$$target 2>&1 | tail -3 || exit 1; \
	done

# Figures: tests/bench/bench_X.c prints `name value unit` lines.
benches := $(patsubst tests/bench/%.c,$B/bench/%,$(wildcard tests/bench/bench_*.c))
$B/bench/%: tests/bench/%.c $(lib) $(paho)
	@mkdir -p $(@D)
	$(CC) $(ours) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(lib) $(paho_link) $(libs)

# The load generator that bench_broker.py and the tests drive, and the least that could stand against it; nothing of the agent is in them.
load := $B/bench/mqtt_load $B/bench/mqtt_sink
$B/bench/mqtt_load: $(patsubst %.c,$B/%.o,tests/bench/mqtt_load.c $(wildcard tests/bench/mqtt_load/*.c))
$B/bench/mqtt_sink: $B/tests/bench/mqtt_sink.o $B/tests/bench/mqtt_load/packet.o
$(load):
	@mkdir -p $(@D)
	$(CC) $(san) $(CFLAGS) $(LDFLAGS) -o $@ $^

benches: $(benches) $(load)

units: $(unit) $(load)

bench:
	@$(MAKE) --no-print-directory deps deps-test
	@$(MAKE) --no-print-directory -j2 all benches
	@for bench in $(benches); do $$bench || exit 1; done
	@for bench in $(wildcard tests/bench/bench_*.py); do $(PYTHON) $$bench || exit 1; done

# Every test. Three variants: release, address+undefined, and thread for what has threads.
check:
	@$(MAKE) --no-print-directory deps deps-test
	@$(MAKE) --no-print-directory -j2 all units
	@$(MAKE) --no-print-directory -j2 SANITIZE=address,undefined CFLAGS='-O1 -g' all units
	@$(MAKE) --no-print-directory -j2 SANITIZE=thread CFLAGS='-O1 -g' all units
	@$(PYTHON) tests/run.py --layers --headers --script tests/statements.py --script tests/advisories.py --unit build/release/unit --unit build/address-undefined/unit \
	    --unit build/thread/unit --integration release --integration address-undefined \
	    --integration thread:main_job,broker_restart,mqtt_client,signals,pub_sub,broker_job,broker_kills

# What takes long: hundreds of kill -9, outages with ten million points, a million crash states. HELIOGRAF_SEED=N repeats the moments of a run.
soak:
	@$(MAKE) --no-print-directory deps deps-test
	@$(MAKE) --no-print-directory -j2 all $B/unit/test_spool_model
	@HELIOGRAF_LONG=1 HELIOGRAF_CRASHES=1000000 $(PYTHON) tests/run.py -j 1 --stream --timeout 3600 \
	    --integration release:kills,backlog,influx_outage,broker_kills,broker_job,broker_differential --script build/release/unit/test_spool_model

check-unit: units
	@$(PYTHON) tests/run.py --unit $B/unit

check-layers:
	@tests/layers.sh

check-headers:
	@tests/headers.sh

lint:
	clang-tidy --quiet $(src) -- -std=c11 -D_POSIX_C_SOURCE=200809L -DHELIOGRAF_VERSION='"$(VERSION)"' -I.
	cppcheck --quiet --enable=warning,performance,portability --inline-suppr --std=c11 -I. $(src)

coverage:
	@$(MAKE) --no-print-directory deps deps-test
	@$(MAKE) --no-print-directory -j2 B=build/coverage CFLAGS='-O0 -g --coverage' LDFLAGS=--coverage units
	@$(PYTHON) tests/run.py --unit build/coverage/unit
	@$(PYTHON) tests/coverage.py build/coverage

# Set-up. The package lists stand in config/deps.sh alone.
deps deps-run deps-test deps-fuzz:
	@config/deps.sh $@

run:
	@$(MAKE) --no-print-directory deps deps-run
	@$(MAKE) --no-print-directory -j2 all
	@config/quickstart/run.sh $B/heliograf

install: all
	install -D -m 755 $B/heliograf $(DESTDIR)$(PREFIX)/bin/heliograf
	install -D -m 644 config/systemd/heliograf.service $(DESTDIR)$(PREFIX)/lib/systemd/system/heliograf.service
	sed -i 's|@PREFIX@|$(PREFIX)|' $(DESTDIR)$(PREFIX)/lib/systemd/system/heliograf.service
	install -d $(DESTDIR)$(PREFIX)/share/heliograf
	cp -R config/grafana config/examples $(DESTDIR)$(PREFIX)/share/heliograf/

clean:
	rm -rf build

.PHONY: all units fuzzers fuzz benches bench check soak check-unit check-layers check-headers lint coverage deps deps-run deps-test deps-fuzz \
        run install clean
.DELETE_ON_ERROR:
-include $(shell find $B -name '*.d' 2>/dev/null)
