//! Where the server listens: a port, or a Unix socket that it offers as `SOCKET` says.

use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// A connection, its reading half buffered.
pub struct Connection(BufReader<Box<dyn Stream>>);

/// A stream of either kind.
trait Stream: Read + Write + Send {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Connection {
    fn new(stream: impl Stream + 'static) -> Self {
        Self(BufReader::with_capacity(64 * 1024, Box::new(stream)))
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// Listens and hands out connections, for ever.
pub fn each_connection(mut with: impl FnMut(Connection)) -> io::Result<()> {
    if let Ok(listener) = std::env::var("FN_LISTENER") {
        let path = listener.strip_prefix("unix:").unwrap_or(&listener);
        let socket = offer(Path::new(path))?;
        loop {
            with(Connection::new(socket.accept()?.0));
        }
    }
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let socket = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        let (stream, _) = socket.accept()?;
        stream.set_nodelay(true)?;
        with(Connection::new(stream));
    }
}

/// Makes the socket and puts it in place: as an FDK does, or in one of the ways that must lead
/// nowhere.
fn offer(path: &Path) -> io::Result<UnixListener> {
    let way = std::env::var("SOCKET").unwrap_or_default();
    let made = path.with_file_name("made.sock");
    if way == "outside" {
        let elsewhere = Path::new("/tmp/elsewhere.sock");
        let socket = UnixListener::bind(elsewhere)?;
        std::fs::set_permissions(elsewhere, Permissions::from_mode(0o666))?;
        symlink(elsewhere, path)?;
        return Ok(socket);
    }
    if way == "file" {
        std::fs::write(path, "no socket")?;
    }
    let socket = UnixListener::bind(&made)?;
    if way == "late" {
        std::thread::sleep(Duration::from_millis(300));
    }
    std::fs::set_permissions(&made, Permissions::from_mode(0o666))?;
    if !matches!(way.as_str(), "file" | "never") {
        symlink("made.sock", path)?;
    }
    Ok(socket)
}
