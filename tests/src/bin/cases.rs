//! `make cases FILE=…`: runs every case of a file and says how it went, a line each; fails if one does.

use std::path::PathBuf;
use std::process::ExitCode;

use millrace_tests::cases::{Way, read};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: cases FILE");
        return ExitCode::from(2);
    };
    let cases = match read(&PathBuf::from(file)) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for case in &cases {
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
