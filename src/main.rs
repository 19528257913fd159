//! The roof: sees all rooms, is seen by none.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
