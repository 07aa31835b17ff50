# The entry point for people. Each target is a script of its own under scripts/.

.DEFAULT_GOAL := help
.PHONY: help run stop test bench lint docs

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start Keystone and Picasso, call a function (DETACH=1: return when all is up)
	@DETACH=$(DETACH) scripts/run

stop: ## End what `make run` started
	@scripts/stop

test: ## Run every test, with real services (installs what they need)
	@scripts/test

bench: ## Measure cold calls beside `docker run`; JSON under target/bench/
	@scripts/bench

lint: ## Check format, lints, documentation and scripts
	@scripts/lint

docs: ## Build the API documentation of the crates and refresh docs/configuration.md
	@scripts/docs
