# A thin front; the build is CMakeLists.txt and CMakePresets.json.
#
#   make                    the product, into build/
#   make demo               replays a short trace, see examples/traces
#   make test               release and sanitizer builds, quick tests
#   make test-long          everything, up to an hour
#   make coverage           lines that the quick tests reach, by file
#   make bench              all benchmarks, some minutes; BENCH="--only read"
#   make install PREFIX=    /usr/local unless told; DESTDIR is respected
#   make format             clang-format over all C files

PREFIX ?= /usr/local
JOBS ?= 2
# In CI a warning is an error in the build that users get, too.
RELEASE = -DKVT_WERROR=$(if $(CI),ON,OFF)
QUICK = -DKVT_TESTS=ON -DKVT_TEST_TIMEOUT=120
# A sanitizer makes a test of seconds one of a minute on a busy machine.
SANITIZED = -DKVT_TESTS=ON -DKVT_TEST_TIMEOUT=240
LONG = -DKVT_TESTS=ON -DKVT_TEST_TIMEOUT=900 -DKVT_FUZZ_SECONDS=300
LONG_BUILDS = release asan tsan $(if $(wildcard tests/fuzz/fuzz_*.c),fuzz)
C_FILES = $(shell find include src cli tests bench examples \
	-name '*.[ch]' 2>/dev/null)

# $(call build,PRESET,CONFIGURE OPTIONS,BUILD OPTIONS)
define build
@cmake --preset $(1) $(2) >/dev/null
@cmake --build --preset $(1) $(3) -- --quiet
endef

.PHONY: all setup-build setup-test demo test test-long coverage bench install format clean

all: setup-build
	$(call build,release,$(RELEASE),--target products)

setup-build:
	@scripts/setup build

setup-test:
	@scripts/setup test

demo: all
	@rm -rf build/demo && mkdir -p build/demo/store
	build/bin/kvtier --path build/demo/store replay \
		examples/traces/conversation_1500.jsonl --limit-blocks 8192
	@echo "The store is in build/demo/store;" \
		"see: build/bin/kvtier --path build/demo/store stat"

test: setup-test
	$(call build,release,$(RELEASE) $(QUICK))
	$(call build,asan,$(SANITIZED))
	@JOBS=$(JOBS) scripts/run-tests -L '^quick$$' build build-asan

test-long: setup-test
	@for preset in $(LONG_BUILDS); do \
		cmake --preset $$preset $(LONG) >/dev/null && \
		cmake --build --preset $$preset -- --quiet || exit 1; \
	done
	@JOBS=$(JOBS) KVT_TEST_SCALE=$${KVT_TEST_SCALE:-10} scripts/run-tests \
		$(patsubst %,build-%,$(filter-out release,$(LONG_BUILDS))) build

# What is not reached stands in build-coverage/lines.txt, line by line.
COVERED = --filter src/backend --filter src/index --filter src/format
coverage:
	@scripts/setup coverage
	$(call build,coverage,$(QUICK))
	@find build-coverage -name '*.gcda' -delete
	@JOBS=$(JOBS) scripts/run-tests -L '^quick$$' -E '\.(check|integration)\.' \
		build-coverage || echo "Some tests failed; the figures lack them."
	@gcovr --root . --object-directory build-coverage $(COVERED) \
		--exclude-throw-branches --txt build-coverage/lines.txt
	@cat build-coverage/lines.txt

bench: setup-build
	@scripts/setup bench
	$(call build,release,$(RELEASE),--target bench_kvtier)
	@mkdir -p build/bench
	build/bin/bench_kvtier --dir build/bench --csv build/bench.csv $(BENCH)

install: all
	@cmake --install build --prefix "$(PREFIX)"

format: setup-test
	@clang-format-14 -i $(C_FILES)

clean:
	rm -rf build build-asan build-clang build-coverage build-dev build-fuzz build-tsan
