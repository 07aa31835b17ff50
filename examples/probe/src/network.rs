//! What a function can reach.

use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);

/// Connects to each `ADDRESS:PORT` and reads the first line it says.
pub fn connect(addresses: &[&str]) -> Result<(), std::net::AddrParseError> {
    for text in addresses {
        let address: SocketAddr = text.parse()?;
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => println!("{text}: connected {}", greeting(&mut stream)),
            Err(error) => println!("{text}: {}", failure(&error)),
        }
    }
    Ok(())
}

fn greeting(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 64];
    let read = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.read(&mut bytes));
    read.map_or_else(
        |error| failure(&error),
        |count| String::from_utf8_lossy(&bytes[..count]).trim().to_owned(),
    )
}

/// Listens, says where, and greets whoever comes, until stdin ends.
pub fn listen(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"reached\n"));
        }
    });
    println!("listening {}", own_address()?);
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The address packets would leave with; no packet is sent to find out.
fn own_address() -> std::io::Result<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Opens connections to one address and keeps them; says how many it got.
pub fn hold(address: &str, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = address.parse()?;
    let mut held = Vec::new();
    for _ in 0..count {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                println!("held {}: {}", held.len(), failure(&error));
                return Ok(());
            }
        }
    }
    println!("held {count}");
    Ok(())
}

/// Reads that many bytes from an address; says how many milliseconds it took.
pub fn fetch(address: &str, bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = address.parse()?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    let started = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    let mut read = 0;
    while read < bytes {
        match stream.read(&mut buffer)? {
            0 => break,
            count => read += count,
        }
    }
    println!("fetched {read} in {}", started.elapsed().as_millis());
    Ok(())
}

fn failure(error: &Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| format!("failed {:?}", error.kind()), |number| format!("errno {number}"))
}
