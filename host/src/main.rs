//! The `millrace` command: the only place that exits and that puts the pieces together.

mod cli;

use std::process::ExitCode;

/// glibc gives large buffers back to the system with every batch and asks for them anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
