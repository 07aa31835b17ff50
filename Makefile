# The entry point for people. Each target is a script of its own under scripts/.

.DEFAULT_GOAL := help
.PHONY: help run stop example test bench soak chaos fuzz schemathesis lint docs

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start Keystone and Picasso, call a function (DETACH=1: return when all is up)
	@DETACH=$(DETACH) scripts/run

stop: ## End what `make run` started
	@scripts/stop

example: ## Run an example with a real OpenStack around it (NAME=nova; without: the list)
	@scripts/example $(NAME)

test: ## Run every test, with real services (installs what they need)
	@scripts/test

bench: ## Measure speed and memory beside a peer or a floor; JSON under target/bench/ (TABLE=warm: one)
	@scripts/bench $(TABLE)

soak: ## Ten minutes of calls under crashes, kills and timeouts; nothing may be left (SECONDS=90)
	@scripts/soak $(SECONDS)

chaos: ## Kill and cut off server, broker and database while calls are accepted; none may be lost (CALLS=300 QUEUE=nats)
	@scripts/chaos $(or $(CALLS),10000) $(QUEUE)

fuzz: ## Fuzz every parser of strangers' bytes, 120 s each (SECONDS=15)
	@scripts/fuzz $(SECONDS)

schemathesis: ## Hold 10,000 generated requests against the OpenAPI document (REQUESTS=500 SEED=7)
	@scripts/schemathesis $(REQUESTS) $(SEED)

lint: ## Check format, lints, documentation and scripts
	@scripts/lint

docs: ## Build the API documentation of the crates and refresh docs/configuration.md
	@scripts/docs
