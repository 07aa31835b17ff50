//! Writing to the terminal. A reader that went away (`picasso image list | head -1`) is no fault.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::CliFailure;

/// Data, to standard output.
pub fn print(text: &str) -> Result<(), CliFailure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliFailure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Anything else, to standard error. There is nobody to tell when that fails.
pub fn complain(message: &dyn Display) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}

/// `bytes` in the unit people read.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_shown_in_the_unit_people_read() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
