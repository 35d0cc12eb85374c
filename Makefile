BUN = node_modules/.bin/bun
PREFIX = /usr/local

.PHONY: help run build portable test test-vm check tools bench install clean
.SILENT:

help:
	echo 'make run      spawn a container from this machine'\''s own file system (as root)'
	echo 'make build    make dist/nspawn, one file that runs by itself'
	echo 'make install  build it and put it in $$(DESTDIR)$$(PREFIX)/bin, with a unit for systemd'
	echo 'make portable make dist/portable, the parts for all JavaScript runtimes; npm pack does so by itself'
	echo 'make test     check, then run all tests (as root: all of them, and install what they need)'
	echo 'make test-vm  only the tests that want a host with systemd, in virtual machines'
	echo 'make check    types, lint and format'
	echo 'make bench    compare with systemd-nspawn, bubblewrap and runc (as root)'
	echo 'make clean    remove what was built'

# Tells who PID 1 is and which machine this is.
WHOAMI = sh -c 'printf "%-14s PID %s, host name %s, boot id %s\n" \
	"$$1" $$$$ "$$(uname -n)" "$$(cat /proc/sys/kernel/random/boot_id)"' sh

run: node_modules
	$(WHOAMI) 'This machine:'
	$(BUN) src/cli/main.ts -q -D / --volatile=overlay -M example -- $(WHOAMI) 'A container:'

build: node_modules
	$(BUN) scripts/build.ts

# The parts that run in any JavaScript runtime, as JavaScript: what comes with a package may not be TypeScript there.
portable: node_modules
	rm -rf dist/portable
	node_modules/.bin/tsc --project scripts/tsconfig.portable.json

install: build
	install -D -m 755 dist/nspawn $(DESTDIR)$(PREFIX)/bin/nspawn
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@bindir@|$(PREFIX)/bin|' units/nspawn@.service.in >$(DESTDIR)$(PREFIX)/lib/systemd/system/nspawn@.service

test: check tools
	$(BUN) scripts/test.ts

test-vm: node_modules tools
	$(BUN) scripts/test.ts test/vm/

check: node_modules
	node_modules/.bin/tsc --noEmit
	node_modules/.bin/biome check

bench: build tools
	$(BUN) bench/main.ts

tools:
	test/support/install-tools.sh

clean:
	rm -rf dist

# Bun is one of the packages. Not npm ci: it insists on what only other platforms need and the lock file may lack.
node_modules: package-lock.json
	npm install --no-save --no-audit --no-fund --loglevel=error
	touch $@
