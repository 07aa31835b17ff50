//! What a function can read, write and fill up.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::path::Path;

pub fn list(path: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        println!("{}", entry?.file_name().to_string_lossy());
    }
    Ok(())
}

/// Reads up to 4 KiB of each path.
pub fn read(paths: &[&str]) {
    for path in paths {
        match File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(4096).read_to_end(&mut bytes).map(|_| bytes)
        }) {
            Ok(bytes) => println!("{path}: read {:?}", String::from_utf8_lossy(&bytes)),
            Err(error) => println!("{path}: {}", failure(&error)),
        }
    }
}

/// Reads a path each time a line comes in.
pub fn read_again(path: &str) -> std::io::Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        read(&[path]);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Removes files and folders, and renames what it cannot remove.
pub fn remove(paths: &[&str]) {
    for path in paths {
        let folder = Path::new(path).is_dir();
        let removed = if folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        match removed.or_else(|_| std::fs::rename(path, format!("{path}-away"))) {
            Ok(()) => println!("{path}: removed"),
            Err(error) => println!("{path}: {}", failure(&error)),
        }
    }
}

/// Makes a file below each folder, or writes to a file that is there.
pub fn write(paths: &[&str]) {
    for path in paths {
        let target = Path::new(path);
        let target = if target.is_dir() { target.join("picasso-probe") } else { target.to_owned() };
        let written = File::options()
            .create(true)
            .append(true)
            .open(&target)
            .and_then(|mut file| file.write_all(b"probe"));
        match written {
            Ok(()) => println!("{path}: written"),
            Err(error) => println!("{path}: {}", failure(&error)),
        }
    }
}

/// Writes one file until there is no more room.
pub fn fill_bytes(path: &str) {
    let chunk = vec![1; 64 * 1024];
    let mut bytes: u64 = 0;
    let result = File::create(Path::new(path).join("filled")).and_then(|mut file| {
        loop {
            match file.write(&chunk) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes += written as u64,
                Err(error) => return Err(error) as std::io::Result<()>,
            }
        }
    });
    if let Err(error) = result {
        println!("filled {bytes}: {}", failure(&error));
    }
}

/// Makes empty files until there are no more inodes.
pub fn fill_inodes(path: &str) {
    for count in 0_u64.. {
        if let Err(error) = File::create(Path::new(path).join(format!("f{count}"))) {
            println!("made {count}: {}", failure(&error));
            return;
        }
    }
}

fn failure(error: &Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| format!("errno {number}"))
}
