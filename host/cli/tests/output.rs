//! What commands print.

use std::io;
use std::process::Command;

#[test]
fn a_command_whose_reader_has_read_enough_ends_well_and_says_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let printed = Command::new(env!("CARGO_BIN_EXE_agent-host")).arg("config-reference").env_clear().stdout(writer).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    assert_eq!(String::from_utf8(printed.stderr).unwrap(), "");
}
