//! The program: parse the command line, call the library, end with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ravelin::cli::main().into()
}
