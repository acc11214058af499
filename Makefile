# For packagers: builds LECO and puts every file where it belongs. To try it from a checkout: script/run
#
#   make [OVERLAY=no] [CARGOFLAGS=…]
#   make install [DESTDIR=] [PREFIX=/usr/local] [OVERLAY=no]
#   make uninstall, with the same variables
#
# OVERLAY=no leaves the desktop overlay out, and with it SDL. CARGOFLAGS is for cargo, such as
# --no-default-features --features leco-sdl-widget/system-sdl for SDL of the system.

PREFIX ?= /usr/local
DESTDIR ?=
OVERLAY ?= yes
CARGO ?= cargo
CARGOFLAGS ?=
INSTALL ?= install
# Where cargo leaves the programs.
BIN ?= target/release
MANUAL ?= target/manual

BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/leco
UNITDIR ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
APPDIR ?= $(PREFIX)/share/applications
ICONDIR ?= $(PREFIX)/share/icons/hicolor/scalable/apps

PROGRAMS := leco-ebpf-load leco-event-pipe leco-tui leco-notify leco-relay
PAGES := leco-ebpf-load.8 leco-event-pipe.1 leco-tui.1 leco-notify.1 leco-relay.1 widget.ini.5
DESKTOP := leco-tui.desktop
USERUNITS := leco-notify.service
PACKAGES := --package leco-bpf --package leco-pipe --package leco-tui --package leco-notify \
	--package leco-relay --package leco-packaging
ifneq ($(OVERLAY),no)
PROGRAMS += leco-sdl-widget
PAGES += leco-sdl-widget.1
DESKTOP += leco-sdl-widget.desktop
USERUNITS += leco-sdl-widget.service
PACKAGES += --package leco-sdl-widget
endif
UNITS := $(notdir $(wildcard systemd/system/*))
# Not how releases are made.
DOCS := README.md CHANGELOG.md $(filter-out docs/RELEASING.md,$(wildcard docs/*.md)) docs/events.schema.json
EXAMPLES := widget.ini spline-editor.html $(wildcard systemd/drop-ins/*) packaging/openrc packaging/runit \
	$(wildcard packaging/examples/*)

# What is installed: file in the tree, place, mode.
FILES = \
	$(foreach name,$(PROGRAMS),$(BIN)/$(name):$(BINDIR)/$(name):755) \
	$(foreach name,$(PAGES),$(MANUAL)/man/$(name):$(MANDIR)/man$(subst .,,$(suffix $(name)))/$(name):644) \
	$(foreach name,$(PROGRAMS),$(MANUAL)/completions/bash/$(name):$(BASHDIR)/$(name):644) \
	$(foreach name,$(PROGRAMS),$(MANUAL)/completions/zsh/_$(name):$(ZSHDIR)/_$(name):644) \
	$(foreach name,$(PROGRAMS),$(MANUAL)/completions/fish/$(name).fish:$(FISHDIR)/$(name).fish:644) \
	$(foreach name,$(UNITS),systemd/system/$(name):$(UNITDIR)/$(name):644) \
	$(foreach name,$(USERUNITS),systemd/user/$(name):$(USERUNITDIR)/$(name):644) \
	systemd/sysusers.d/leco.conf:$(SYSUSERSDIR)/leco.conf:644 \
	$(foreach name,$(DESKTOP),packaging/$(name):$(APPDIR)/$(name):644) \
	packaging/leco.svg:$(ICONDIR)/leco.svg:644 \
	$(foreach file,$(DOCS),$(file):$(DOCDIR)/$(notdir $(file)):644) \
	$(foreach file,$(EXAMPLES),$(file):$(DOCDIR)/examples/$(notdir $(file)):644)

.PHONY: all install uninstall

all:
	$(CARGO) build --release --locked $(PACKAGES) $(CARGOFLAGS)
	$(BIN)/leco-packaging $(MANUAL)

install:
	@for file in $(FILES); do \
		from=$${file%%:*} rest=$${file#*:}; to="$(DESTDIR)$${rest%:*}"; \
		$(INSTALL) -D -m "$${file##*:}" "$$from" "$$to" || exit; \
	done
	@# Units and drop-ins name programs by their place.
	@for file in $(UNITS:%=$(UNITDIR)/%) $(USERUNITS:%=$(USERUNITDIR)/%) $(DOCDIR)/examples/loader-options.conf $(DOCDIR)/examples/metrics.conf $(DOCDIR)/examples/openrc; do \
		sed -i 's|/usr/bin/leco-|$(BINDIR)/leco-|' "$(DESTDIR)$$file" || exit; \
	done

uninstall:
	@for file in $(FILES); do rest=$${file#*:}; rm -f "$(DESTDIR)$${rest%:*}" || exit; done
	@rmdir -p "$(DESTDIR)$(DOCDIR)/examples" 2>/dev/null || true
