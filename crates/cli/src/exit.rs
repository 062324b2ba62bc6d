//! Exit codes, documented in `--help`.

use dlio_run::failure::Code;

/// Returns the exit code of the process for a failure of this class.
pub(crate) fn code(class: Code) -> u8 {
    match class {
        Code::Unexpected => 1,
        Code::Usage => 2,
        Code::Storage => 3,
        Code::Data => 4,
        Code::Ranks => 5,
        Code::Trace => 6,
        Code::Requirement => 7,
        Code::Threshold => 8,
        Code::Stalled => 9,
        Code::Folder => 10,
        Code::HungUp => 129,
        Code::Interrupted => 130,
        Code::Quit => 131,
        Code::User1 => 138,
        Code::User2 => 140,
        Code::Terminated => 143,
        Code::CpuTime => 152,
    }
}
