# The daily commands.

# every test on the default device
test:
    cargo test --release --workspace

# the same tests on every device
test-all: test
    cargo test-ndarray
    cargo test-wgpu

# formatting and lints
lint:
    cargo fmt --all --check
    cargo lint

# simulate, train three models, score
quickstart:
    cargo run --release --example quickstart

# the program: `just stem train --help`
stem *args:
    cargo run --release --bin stem -- {{args}}

# install the program
install:
    cargo install --path crates/stem

# criterion benches; STEM_DEVICE picks the device
bench:
    cargo bench --bench '*'

# what has to hold before a change lands
ci:
    .ci/run
