//! `millrace-component MODULE.wasm -o COMPONENT.wasm`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, flag, component] = arguments.as_slice() else { return usage() };
    if flag.as_os_str() != "-o" {
        return usage();
    }
    let built = fs::read(module)
        .map_err(|error| error.to_string())
        .and_then(|bytes| millrace_component::component(&bytes))
        .map_err(|error| format!("{}: {error}", module.display()));
    let written = built
        .and_then(|bytes| fs::write(component, bytes).map_err(|error| format!("{}: {error}", component.display())));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace-component: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: millrace-component MODULE.wasm -o COMPONENT.wasm");
    ExitCode::FAILURE
}
