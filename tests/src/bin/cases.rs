//! `make cases FILE=…`: runs every case of a file and says how it went, a line each; fails if one does.
//!
//! `cases FILE ID…` runs those alone, and `cases --projects FILE ID…` prints what they become instead.

use std::path::PathBuf;
use std::process::ExitCode;

use millrace_tests::cases::{Case, Way, read};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let projects = arguments.first().is_some_and(|first| first == "--projects");
    if projects {
        arguments.remove(0);
    }
    let Some((file, ids)) = arguments.split_first() else {
        eprintln!("usage: cases [--projects] FILE [ID…]");
        return ExitCode::from(2);
    };
    let cases = match read(&PathBuf::from(file)) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if let Some(unknown) = ids.iter().find(|id| !cases.iter().any(|case| case.id == **id)) {
        eprintln!("{file} has no case {unknown}");
        return ExitCode::from(2);
    }
    let chosen: Vec<&Case> = cases.iter().filter(|case| ids.is_empty() || ids.contains(&case.id)).collect();
    if projects { print_projects(&chosen) } else { run(&chosen) }
}

fn run(cases: &[&Case]) -> ExitCode {
    let mut failed = 0;
    for case in cases {
        match case.run(Way::Fitting) {
            Ok(()) => println!("{}: ok", case.id),
            Err(difference) => {
                failed += 1;
                println!("{}: {difference}", case.id);
            }
        }
    }
    println!("{} of {} cases ok", cases.len() - failed, cases.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_projects(cases: &[&Case]) -> ExitCode {
    for case in cases {
        match case.project() {
            Ok(project) => println!("# {}\n{project}", case.id),
            Err(error) => {
                eprintln!("{}: {error}", case.id);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
