//! The command line that does it again, for the report.

use std::ffi::OsString;

/// The command line of this process as it is typed again in a shell.
pub(crate) fn command_line() -> String {
    again(std::env::args_os().skip(1))
}

fn again(args: impl Iterator<Item = OsString>) -> String {
    args.fold("stem".to_string(), |line, arg| format!("{line} {}", quoted(&arg.to_string_lossy())))
}

/// An argument as a shell reads it back.
pub(crate) fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.into() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_line_back_as_it_was() {
        let args = ["train", "--data", "my data", "--out", "it's", "", "a$b"].map(OsString::from);
        assert_eq!(again(args.into_iter()), r"stem train --data 'my data' --out 'it'\''s' '' 'a$b'");
    }
}
