# The menu. `make` prints it; the bodies are short scripts in hack/.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# The peers that creel is compared with, by name or path, separated by commas; missing ones are said and left out.
PEERS ?= runc,crun

# .cargo/config.toml names a target, so that build scripts stay dynamic; hence the directory.
HOST := $(shell rustc --print host-tuple 2>/dev/null)
CREEL := $(CURDIR)/target/$(HOST)/release/creel
SHIM := $(dir $(CREEL))containerd-shim-creel-v2
IMAGE := $(dir $(CREEL))creel-image
MANUAL := $(CURDIR)/target/manual
# What boots virtual machines for test-lab; what of it is to run there (hack/test-lab.py --help): all, if it is not said.
LAB ?= $(CURDIR)/../shared/lab/lab
LAYOUTS ?=
CASES ?=
TESTS ?=
# Which containerd the shim is put under: installed, 1.7, 2.2, 2.4 (built from their Go modules), or a directory with its programs.
CONTAINERD ?= installed
# How long each fuzz target runs, and which: all, if it is not said.
SECONDS ?= 60
TARGETS ?=
# The runtime under test; any OCI runtime will do.
RUNTIME ?= $(CREEL)

.DEFAULT_GOAL := help
.PHONY: help demo deps build test test-lab check bench bench-shim bench-image images unpack engines validate blackbox security test-fallbacks kill-walk parity fuzz man install clean

help: ## print this menu
	@echo "creel: make TARGET"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'
	@echo; echo "Variables: RUNTIME=$(RUNTIME) PEERS=$(PEERS) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)"
	@echo "           CONTAINERD=$(CONTAINERD) CASES= (engines)"
	@echo "           LAB=$(LAB) LAYOUTS= CASES= TESTS= QUICK= (test-lab)"
	@echo "           SECONDS=$(SECONDS) TARGETS= (fuzz)"

demo: ## install what is missing, build, and run a busybox container step by step
	@hack/demo.sh

deps: ## install what building and testing need (apt-get, only what is missing)
	@hack/install-deps.sh

build: ## build the release binaries
	@$(CARGO) build --release --locked
	@echo "built $(CREEL), $(SHIM) and $(IMAGE)"

test: ## run every test: unit and kernel tests, the black-box suite, the runtime-tools programs, the shim under containerd
	@hack/test.sh

test-lab: ## kernel tests and black-box suite in virtual machines: cgroup v2 with systemd, hybrid, v1
	@LAB=$(LAB) hack/test-lab.py $(if $(QUICK),--quick) --layouts '$(LAYOUTS)' --cases '$(CASES)' --tests '$(TESTS)'

check: ## formatting, lints, dependencies, layers, where unsafe may be
	@hack/check.sh

bench: build ## time creel beside its peers and write docs/benchmarks.md
	@hack/bench.sh $(CREEL),$(PEERS)

bench-shim: build ## measure the shim beside containerd's own and write docs/benchmarks-shim.md
	@tests/engines/containerd/bench.py --containerd $(CONTAINERD) --write docs/benchmarks-shim.md $(dir $(SHIM))

engines: build ## containers and pods on the shim, under the containerd that CONTAINERD names
	@tests/engines/containerd/run.py --containerd $(CONTAINERD) --case '$(CASES)' $(dir $(SHIM))
	@tests/engines/cri/run.py --containerd $(CONTAINERD) --case '$(CASES)' $(dir $(SHIM))

bench-image: build ## measure pulling and unpacking beside skopeo+umoci and ctr, and write docs/benchmarks-image.md
	@tests/images/bench.py --write docs/benchmarks-image.md $(dir $(CREEL))

images: build ## pull from a registry on loopback: access, faults, kills, archives, signatures
	@tests/images/run.py $(IMAGE)

unpack: build ## unpacked trees beside umoci's and GNU tar's, hostile layers, bundles with every runtime, run on a terminal
	@tests/images/unpack.py $(dir $(CREEL))

validate: ## the table of the 58 runtime-tools programs, RUNTIME beside PEERS
	@tests/oci-validation/runtime-tools/validate.py $(RUNTIME),$(PEERS)

blackbox: ## the table of our own black-box suite, RUNTIME beside PEERS
	@tests/oci-validation/blackbox/run.py $(RUNTIME),$(PEERS)

security: build ## all of the security cases, RUNTIME beside PEERS, and the shim's; write docs/security-tests.md
	@tests/oci-validation/security/table.py --write docs/security-tests.md $(RUNTIME),$(PEERS)

kill-walk: ## SIGKILL at every system call of create, start, run, exec, delete, update and pause of RUNTIME, and of the shim beside it: what is left can be mended
	@BLACKBOX_WALK=all tests/oci-validation/blackbox/run.py --progress --case '^(shim_)?kills' $(RUNTIME)

test-fallbacks: build ## the black-box suite without openat2, detached mounts, mount_setattr, close_range, clone3 …, one after the other
	@hack/fallbacks.py $(RUNTIME)

parity: build ## write docs/cgroup-parity.md: what the kernel has after each limit, creel beside PEERS, on v1 and v2
	@LAB=$(LAB) hack/parity.py $(RUNTIME),$(PEERS)

fuzz: ## run the fuzz targets (TARGETS), SECONDS each; what is found is kept below target/fuzz
	@hack/fuzz.py --seconds $(SECONDS) $(TARGETS)

man: ## write man pages and completions (bash, zsh, fish) to target/manual
	@CARGO=$(CARGO) hack/man.sh $(MANUAL)
	@echo "wrote $(MANUAL)"

install: build man ## install the programs, man pages and completions to DESTDIR/PREFIX
	@PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) hack/install.sh $(dir $(CREEL)) $(MANUAL)

clean: ## remove what was built
	@$(CARGO) clean
