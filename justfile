# The commands that a contributor needs. `just` lists them.

_default:
    @just --list --unsorted

# Run everything that CI runs
test:
    ./tests/run.sh

# Run the tests that need no virtual machine and no network tools
fast:
    ./tests/run.sh --fast

# Run the tests whose names contain one of these words
only +NAMES:
    ./tests/run.sh {{NAMES}}

# List the slowest tests of the last run
slowest:
    ./tests/slowest.py

# Check format and lints
lint:
    cargo fmt --all --check
    cargo clippy --all-targets --locked -- -D warnings

# Review snapshots that changed (needs cargo-insta)
review:
    cargo insta test --review

# Measure speed
bench:
    cargo bench

# Write the schema that editors get
schema:
    cargo run --locked -- schema > schema/state.schema.json

# Write the reference pages of docs/ from the schema and from the help texts
reference:
    RLVM_WRITE_DOCS=1 cargo test --locked --test it reference
