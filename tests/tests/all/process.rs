//! The binary under test is there and can be called.

use millrace_tests::patience::START;
use millrace_tests::process::Millrace;

#[test]
fn help_goes_to_standard_output() {
    let help = Millrace::command().args(["--help"]).finish(START);
    assert!(help.status.success(), "{help:?}");
    assert!(help.stdout.contains("Usage: millrace"), "{help:?}");
    assert_eq!(help.stderr, "");
}

#[test]
fn an_unknown_command_is_the_callers_mistake() {
    let refused = Millrace::command().args(["ruin"]).finish(START);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("unrecognized subcommand 'ruin'"), "{refused:?}");
    assert_eq!(refused.stdout, "");
}
