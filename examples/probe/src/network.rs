//! What a function can reach.

use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
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

/// Greets everybody who connects, then sends that many bytes, and keeps the connection until the
/// other side closes it; for ever.
pub fn serve(port: u16, bytes: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || {
            let _ = stream.write_all(b"reached\n");
            let chunk = vec![0; 64 * 1024];
            let mut left = bytes;
            while left > 0 && stream.write_all(&chunk[..left.min(chunk.len())]).is_ok() {
                left -= left.min(chunk.len());
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
    }
    Ok(())
}

/// A name server that answers every question with 192.0.2.7; for ever.
pub fn serve_names(address: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let mut question = [0; 512];
    loop {
        let (length, peer) = socket.recv_from(&mut question)?;
        let mut answer = question[..length].to_vec();
        if length < 12 {
            continue;
        }
        // A response without error, one question, one answer (RFC 1035, 4.1).
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.truncate(question_end(&answer));
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        socket.send_to(&answer, peer)?;
    }
}

/// Where the only question of a message ends.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message.get(at).is_some_and(|length| *length != 0) {
        at += 1 + usize::from(message[at]);
    }
    (at + 5).min(message.len())
}

/// Asks the first name server of `/etc/resolv.conf` for a name's IPv4 address.
pub fn resolve(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let conf = std::fs::read_to_string("/etc/resolv.conf")?;
    let server = conf.lines().find_map(|line| line.strip_prefix("nameserver "));
    let Some(server) = server else {
        println!("no name server");
        return Ok(());
    };
    let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 512];
    let result = socket.send_to(&question, (server.trim(), 53)).and_then(|_| socket.recv(&mut answer));
    match result {
        // The low four bits are the response code; 0 is success.
        Ok(length) if length >= 4 && answer[3] % 16 == 0 => {
            println!("address {:?}", &answer[length - 4..length]);
        }
        Ok(_) => println!("refused {}", answer[3] % 16),
        Err(error) => println!("{}", failure(&error)),
    }
    Ok(())
}

/// The address packets would leave with; no packet is sent to find out.
fn own_address() -> std::io::Result<std::net::IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
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
