# Attune's commands. `make quickstart` and `make test` are all that a newcomer needs.

SHELL := /bin/bash
PACKAGES := libopenblas-dev libpcre2-dev zlib1g-dev libssl-dev pkg-config unzip
# Warnings are errors in our own targets (Package.swift), undeclared imports everywhere.
SWIFT_FLAGS := -c release --explicit-target-dependency-import-check error
ATTUNE := .build/release/attune

.DEFAULT_GOAL := help
.PHONY: help setup build model quickstart test check lint format fixtures bench clean

help: ## Print this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: ## Install the Debian packages that are missing (nothing elsewhere).
	@command -v swift >/dev/null || { echo "make: Swift 6.3 or later is needed: see swift.org/install" >&2; exit 1; }
	@if command -v dpkg-query >/dev/null; then \
	  missing=; for p in $(PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	  if [ -n "$$missing" ]; then \
	    sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "Installing$$missing"; \
	    $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  fi; fi

clean: ## Remove what the build made.
	rm -rf .build
