# SPDX-License-Identifier: Apache-2.0
# One Makefile, no recursion, everything under build/. "make help" lists the targets.

VERSION := 0.1.0

# ARCH=arm64: built on another machine, by Debian's cross compiler and libraries (deploy/deps.sh arm64).
O := build$(if $(ARCH),/$(ARCH))$(if $(SAN),/san)
STATIC := build$(if $(ARCH),/$(ARCH))/static
ifeq ($(ARCH),arm64)
CC := aarch64-linux-gnu-gcc
AR := aarch64-linux-gnu-ar
STRIP := aarch64-linux-gnu-strip
PKG_CONFIG := PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig pkg-config
else ifneq ($(ARCH),)
$(error ARCH=$(ARCH): only arm64 is cross-built; without ARCH= it is built for this machine)
endif
STRIP ?= strip
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' $(1) $(2);)

PREFIX ?= /usr/local
DESTDIR ?=

CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/local/sbin/bpftool /sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config
LIBS := libbpf openssl libcares libdeflate
TEST_LIBS := json-c
INIH := -linih

BPF_ARCH := $(shell $(CC) -dumpmachine | sed -e 's/^x86_64-.*/x86/' -e 's/^aarch64-.*/arm64/')

# ------------------------------------------------------------------ flags
comma := ,
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wpointer-arith -Wformat=2 -Wno-missing-field-initializers
HARDEN := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2) \
	$(if $(findstring clang,$(CC)),,-fstack-clash-protection) \
	$(if $(filter x86,$(BPF_ARCH)),-fcf-protection)
SANITIZE := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
OPT := $(if $(SAN),-O1,-O2) -g
# Where it was built is no part of a binary: two folders give the same bytes.
HERE := -ffile-prefix-map=$(CURDIR)=.
CFLAGS += -std=gnu11 $(OPT) $(HERE) $(WARN) $(HARDEN) $(SANITIZE)
CPPFLAGS += -I. -I$(O)/gen -DSEKOIA_VERSION='"$(VERSION)"'
DEPFLAGS = -MMD -MP
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack $(SANITIZE)
LDLIBS += $(shell $(PKG_CONFIG) --libs $(LIBS)) $(INIH)
TEST_LDLIBS = $(LDLIBS) $(shell $(PKG_CONFIG) --libs $(TEST_LIBS))
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g $(HERE) -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-declarations -D__TARGET_ARCH_$(BPF_ARCH) -I. -Ivmlinux \
	-idirafter /usr/include/$(shell $(CC) -dumpmachine | sed 's/-pc-/-/')

# ------------------------------------------------------------------ sources
BPF_SRC := $(wildcard bpf/*.bpf.c)
SKEL := $(BPF_SRC:bpf/%.bpf.c=$(O)/gen/bpf/%.skel.h)
LIB_SRC := $(filter-out user/main.c,$(wildcard user/*.c user/util/*.c output/*.c config/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(O)/obj/%.o)
LIB := $(O)/libsekoia.a
MAIN_OBJ := $(O)/obj/user/main.o
UNIT := $(patsubst tests/unit/%.c,$(O)/tests/unit/%,$(wildcard tests/unit/*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(O)/tests/fuzz/%,$(filter-out tests/fuzz/driver.c,$(wildcard tests/fuzz/*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(filter-out tests/fuzz/driver.c,$(wildcard tests/fuzz/*.c)))
PEERS := $(patsubst tests/peers/%.c,$(O)/tests/peers/%,$(wildcard tests/peers/*.c))
BENCHES := $(patsubst tests/bench/%.c,$(O)/tests/bench/%,$(filter-out %.bpf.c,$(wildcard tests/bench/*.c)))
ALL_TEXTS := $(O)/man/sekoia-ebpf.8 $(O)/completions/sekoia-ebpf.bash $(O)/completions/_sekoia-ebpf
GROWN := $(O)/grown
PROGRAMS := $(UNIT) $(FUZZ) $(PEERS) $(BENCHES) $(GROWN)/sekoia-ebpf
C_FILES := $(wildcard bpf/*.[ch] user/*.[ch] user/util/*.[ch] output/*.[ch] config/*.[ch] \
	tests/unit/*.[ch] tests/fuzz/*.[ch] tests/peers/*.[ch] tests/bench/*.[ch] tests/lib/*.[ch] deploy/*.c)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps demo test check bench lab lint format fuzz static reproducible packages test-kernels test-packages \
	test-kubernetes soak man completions install clean help

all: $(O)/sekoia-ebpf ## build/sekoia-ebpf

# ------------------------------------------------------------------ rules
$(O)/obj/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$<)$(CLANG) $(BPF_CFLAGS) $(DEPFLAGS) -c $< -o $@
	$(Q)llvm-strip -g $@ 2>/dev/null || llvm-strip-14 -g $@

$(O)/gen/%.skel.h: $(O)/obj/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf > $@

# The compiler's flags are a prerequisite: another CFLAGS rebuilds.
FLAGS_NOW := $(CC) $(CPPFLAGS) $(CFLAGS)
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@
FORCE:

$(O)/obj/%.o: %.c $(O)/flags | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -c $< -o $@

$(LIB): $(LIB_OBJ)
	$(Q)rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

$(O)/sekoia-ebpf: $(MAIN_OBJ) $(LIB)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

# The next version, as far as its predecessor can tell: samples and tables have grown.
# Only what knows them is built again; it comes before the library and replaces its part.
GROWN_OBJ := $(patsubst %.c,$(GROWN)/obj/%.o,$(shell grep -l 'bpf/events\.h' user/*.c))
$(GROWN)/obj/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)$(CLANG) $(BPF_CFLAGS) -DEVENTS_GROWN $(DEPFLAGS) -c $< -o $@
	$(Q)llvm-strip -g $@ 2>/dev/null || llvm-strip-14 -g $@

$(GROWN)/gen/bpf/%.skel.h: $(GROWN)/obj/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(GROWN)/obj/%.o: %.c $(O)/flags | $(SKEL:$(O)/%=$(GROWN)/%)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -I$(GROWN)/gen $(CPPFLAGS) -DEVENTS_GROWN $(CFLAGS) $(DEPFLAGS) -c $< -o $@

$(GROWN)/sekoia-ebpf: $(MAIN_OBJ) $(GROWN_OBJ) $(LIB)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

# A peer at the traffic-control hooks, to be measured beside.
$(O)/obj/tests/bench/bench_capture.o: $(O)/gen/tests/bench/empty.skel.h $(O)/gen/tests/bench/tc_flows.skel.h

$(O)/tests/fuzz/%: $(O)/obj/tests/fuzz/%.o $(O)/obj/tests/fuzz/driver.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(O)/tests/%: $(O)/obj/tests/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(TEST_LDLIBS)

# libFuzzer needs all of the code under test instrumented: objects of their own.
FUZZ_FLAGS := -std=gnu11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
build/fuzz/obj/%.o: %.c | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(DEPFLAGS) -c $< -o $@

build/fuzz/libsekoia.a: $(LIB_SRC:%.c=build/fuzz/obj/%.o)
	$(Q)rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

build/fuzz/%: build/fuzz/obj/tests/fuzz/%.o build/fuzz/libsekoia.a
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@ $(LDLIBS)

# ------------------------------------------------------------------ for people
deps: ## install what is missing to build and test (Debian)
	$(Q)deploy/deps.sh

demo: ## install, build and show the whole path against a local intake; OUTPUT=https|relp|syslog
	$(Q)deploy/deps.sh build
	$(Q)+$(MAKE) --no-print-directory $(O)/sekoia-ebpf $(O)/tests/peers/intake
	$(Q)deploy/demo.sh "$(or $(OUTPUT),https)"

test: ## install, build and run every test
	$(Q)deploy/deps.sh test
	$(Q)+$(MAKE) --no-print-directory all programs static
	$(Q)+$(MAKE) --no-print-directory SAN=1 all programs
	$(Q)tests/run.sh

check: programs ## every test that needs no privilege and no peer
	$(Q)O=$(O) tests/run.sh unit fuzz

programs: $(O)/sekoia-ebpf $(PROGRAMS) $(ALL_TEXTS)

bench: all programs ## measure ourselves beside a named peer, in the same minute
	$(Q)deploy/deps.sh bench
	$(Q)tests/bench/run.sh $(BENCH)

lab: all programs ## the fault laboratory, ours beside rsyslog, ~40 min; LAB="net_cut kills:relp"
	$(Q)tests/lab/lab.sh long $(LAB)

soak: all programs ## the long runs
	$(Q)tests/soak.sh

STATIC_LIBS := $(shell $(PKG_CONFIG) --static --libs $(LIBS)) $(INIH)
$(STATIC)/tests/%: STATIC_LIBS += $(shell $(PKG_CONFIG) --static --libs $(TEST_LIBS))
# Packed relative relocations (DT_RELR) save half a megabyte; a linker without them says so and goes on.
link_static = $(CC) $(CFLAGS) -static-pie -Wl,-z,relro,-z,now,-z,pack-relative-relocs -Wl,--gc-sections -Wl,-w $^ -o $@ \
	$(STATIC_LIBS)
static: $(STATIC)/sekoia-ebpf ## one static binary: build/static/sekoia-ebpf; ARCH=arm64: build/arm64/static
$(STATIC)/sekoia-ebpf: $(MAIN_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(call say,STATIC,$@)$(link_static)
	$(Q)$(STRIP) $@

$(STATIC)/tests/%: $(O)/obj/tests/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,STATIC,$@)$(link_static)

reproducible: ## build the static binary twice, in two places: the same bytes
	$(Q)tests/reproducible.sh

VM_TESTS := $(patsubst tests/%.c,$(STATIC)/tests/%,$(wildcard tests/unit/test_capture*.c tests/unit/test_sandbox.c))
VM_PEERS := $(addprefix $(STATIC)/tests/peers/,acts emit spoolmap confine neighbour)
test-kernels: static $(VM_TESTS) $(VM_PEERS) ## boot other kernels under qemu: power loss, clock, odd hosts, exact bytes, crash, books; ends with kernels x features; KERNELS="6.1 6.12" or all; ARCH=arm64
ifeq ($(ARCH),)
	$(Q)tests/vm/power.sh
	$(Q)tests/vm/clock.sh
	$(Q)tests/vm/hosts.sh
endif
	$(Q)tests/vm/run.sh $(or $(KERNELS),$(ARCH))

# ------------------------------------------------------------------ of the tables
# Whatever the tables say, in the forms that others read.
MAN_DATE := $(shell date -u -d "@$${SOURCE_DATE_EPOCH:-$$(stat -c %Y config/options.c)}" +%F)

$(O)/texts: $(O)/obj/deploy/texts.o $(LIB)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LDLIBS)

$(O)/man/sekoia-ebpf.8: $(O)/texts
	@mkdir -p $(@D)
	$(call say,MAN,$@)$< man $(MAN_DATE) > $@

$(O)/completions/sekoia-ebpf.bash: $(O)/texts
	@mkdir -p $(@D)
	$(call say,BASH,$@)$< bash > $@

$(O)/completions/_sekoia-ebpf: $(O)/texts
	@mkdir -p $(@D)
	$(call say,ZSH,$@)$< zsh > $@

man: $(O)/man/sekoia-ebpf.8 ## build/man/sekoia-ebpf.8
completions: $(filter $(O)/completions/%,$(ALL_TEXTS)) ## build/completions: for bash and zsh

DEB_ARCH := $(patsubst x86,amd64,$(BPF_ARCH))
packages: static ## .deb and .rpm of the static binary, in build/packages; PACKAGES="deb rpm"
	$(Q)+$(MAKE) --no-print-directory ARCH= man completions
	$(Q)deploy/packages.sh $(STATIC)/sekoia-ebpf $(DEB_ARCH) $(VERSION) build/packages $(PACKAGES)

PACKAGE_PEERS := $(addprefix $(STATIC)/tests/peers/,intake emit)
test-packages: static man completions $(PACKAGE_PEERS) ## lint, install, upgrade, remove the packages; under a real systemd in qemu
	$(Q)deploy/deps.sh packages
	$(Q)tests/packages/run.sh

test-kubernetes: ## the manifests and the chart against the types of the Kubernetes API; needs npm
	$(Q)deploy/deps.sh kubernetes
	$(Q)charts=$$(tests/deploy/helm.sh) && tests/deploy/kubernetes.sh deploy/kubernetes/*.yaml $$charts

fuzz: $(FUZZERS) ## libFuzzer on every parser; FUZZ_SECONDS=30 each
	$(Q)tests/fuzz/run.sh $(or $(FUZZ_SECONDS),30) $(FUZZERS)

lint: $(SKEL) ## format, cppcheck, clang-tidy, shell, includes
	$(Q)tests/lint.sh

format: ## clang-format in place
	$(Q)clang-format -i $(C_FILES)

install: all man completions ## into DESTDIR/PREFIX, with the systemd unit; an existing configuration is left alone
	install -D -m 0755 $(O)/sekoia-ebpf $(DESTDIR)$(PREFIX)/sbin/sekoia-ebpf
	install -D -m 0644 $(O)/man/sekoia-ebpf.8 $(DESTDIR)$(PREFIX)/share/man/man8/sekoia-ebpf.8
	install -D -m 0644 $(O)/completions/sekoia-ebpf.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/sekoia-ebpf
	install -D -m 0644 $(O)/completions/_sekoia-ebpf \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_sekoia-ebpf
	install -D -m 0755 deploy/systemd/handover $(DESTDIR)$(PREFIX)/lib/sekoia-ebpf/handover
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d
	sed 's,/usr/sbin/sekoia,$(PREFIX)/sbin/sekoia,; s,/usr/lib/,$(PREFIX)/lib/,' deploy/systemd/sekoia-ebpf.service \
		> $(DESTDIR)$(PREFIX)/lib/systemd/system/sekoia-ebpf.service
	install -m 0644 deploy/systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/sekoia-ebpf.conf
	test -e $(DESTDIR)/etc/sekoia-ebpf/sekoia-ebpf.conf || \
		install -D -m 0600 config/sekoia-ebpf.conf $(DESTDIR)/etc/sekoia-ebpf/sekoia-ebpf.conf

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

-include $(shell find $(O) -type f -name '*.d' 2>/dev/null)
