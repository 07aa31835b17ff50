//! Where the server listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use crate::tree::section;

section! {
    /// The listeners.
    pub struct Listeners {
        /// Proxies in front of the API and of function URLs, as networks or addresses. What they say
        /// of a client (`Forwarded`, or `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `-Prefix`) is
        /// believed, and of nobody else.
        pub trusted_proxies: Vec<IpNet> = Vec::new(),
        /// The OpenStack API: apps, routes and wrapped runs. Sockets named `api` that systemd passes
        /// take the place of host and port (docs/listeners.md).
        pub api: Api,
        /// Function URLs. An origin of its own, because the bytes that are served here are chosen
        /// by tenants. Sockets named `functions` that systemd passes take the place of host and port.
        pub functions: Functions,
        /// The IronFunctions face: what clients of IronFunctions know, with apps of its own. Sockets
        /// named `iron` that systemd passes take the place of host and port.
        pub iron: Iron,
        /// Metrics, health and what `picasso image` talks to. Sockets named `admin` that systemd
        /// passes take the place of host and port.
        pub admin: Admin,
        /// What load balancers ask.
        pub healthcheck: Healthcheck,
    }
}

section! {
    /// The API's listener.
    pub struct Api {
        /// Address.
        pub host: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// Port. The old name `PICASSO_PORT` sets it, too.
        pub port: u16 = 10001,
        /// The URL under which people reach the API, for links and for the function's
        /// `REQUEST_URL`. Default: what the request says.
        pub public_url: Option<Url> = None,
        /// Largest body of a request that manages apps and routes, bytes.
        pub max_body_bytes: u64 = 112 * 1024,
        /// Time for the next piece of a request's body, and for a whole body of a request that
        /// manages apps and routes, seconds.
        pub body_timeout_s: u32 = 30,
        /// Time a client has to send the head of a request, seconds.
        pub header_timeout_s: u32 = 15,
        /// Connections at one time, on each listener.
        pub max_connections: u32 = 4096,
        /// Answer a run of a private route without a token (`POST /r/…`) with 404, as if the route
        /// did not exist, instead of the 403 that clients of old Picasso expect.
        pub hide_private_routes: bool = false,
        /// TLS on the listener's TCP sockets, 1.2 or newer; plain HTTP without a certificate.
        pub tls: Tls,
        /// A Unix socket in place of host and port, for proxies on this machine. What they say of
        /// clients (`Forwarded`, `X-Forwarded-*`) is believed: nobody else must be let in.
        pub unix: UnixSocket,
    }
}

section! {
    /// The listener of function URLs.
    pub struct Functions {
        /// Address.
        pub host: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// Port.
        pub port: u16 = 10002,
        /// The URL under which people reach functions. Default: what the request says.
        pub public_url: Option<Url> = None,
        /// TLS on the listener's TCP sockets, 1.2 or newer; plain HTTP without a certificate.
        pub tls: Tls,
        /// A Unix socket in place of host and port, for proxies on this machine. What they say of
        /// clients (`Forwarded`, `X-Forwarded-*`) is believed: nobody else must be let in.
        pub unix: UnixSocket,
    }
}

section! {
    /// The listener of the IronFunctions face.
    pub struct Iron {
        /// Whether it is served. Default: only with `server.standalone`.
        pub enabled: Option<bool> = None,
        /// Address. Anything but loopback needs `iron.jwt_auth_key`.
        pub host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST),
        /// Port.
        pub port: u16 = 8080,
        /// The URL under which people reach it, for the function's `REQUEST_URL`; its host is
        /// answered, too. Default: what the request says.
        pub public_url: Option<Url> = None,
        /// Values of the header `Host` that are answered beside `localhost`, `127.0.0.1` and `[::1]`
        /// with the port: `functions.example.org` (with any port) or `functions.example.org:8080`.
        /// Requests for any other host get 421: a web page whose name an attacker points at this
        /// machine must not reach it.
        pub allowed_hosts: Vec<String> = Vec::new(),
        /// TLS on the listener's TCP sockets, 1.2 or newer; plain HTTP without a certificate.
        pub tls: Tls,
    }
}

section! {
    /// The operator's listeners.
    pub struct Admin {
        /// Address of `/metrics` and `/healthcheck`. There is no authentication here.
        pub host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST),
        /// Port.
        pub port: u16 = 10003,
        /// Unix socket for the command line on this machine; root and the server's user may use it.
        /// Default: `admin.sock` in `server.data_dir`.
        pub socket: Option<PathBuf> = None,
        /// TLS on the listener's TCP sockets, 1.2 or newer; plain HTTP without a certificate.
        pub tls: Tls,
    }
}

section! {
    /// TLS of a listener.
    pub struct Tls {
        /// The certificate, then those that lead to its authority, PEM. `server.user` must be able to
        /// read it and the key. Both are read again when one of them changes, and on SIGHUP; a
        /// pair that cannot be used keeps the one before.
        pub certificate_file: Option<PathBuf> = None,
        /// Its private key, PEM.
        pub key_file: Option<PathBuf> = None,
    }
}

section! {
    /// A Unix socket of a listener.
    pub struct UnixSocket {
        /// Its path.
        pub path: Option<PathBuf> = None,
        /// Its permissions, octal; who may write to it may connect.
        pub mode: String = "0660".to_owned(),
        /// Its owner: `user`, `user:group` or `:group`. Default: who starts the server.
        pub owner: Option<String> = None,
    }
}

impl Tls {
    /// Certificate and key, where there is TLS.
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.certificate_file.clone()?, self.key_file.clone()?))
    }
}

impl UnixSocket {
    /// The permissions as a number; `None` where the text is none.
    pub fn mode_bits(&self) -> Option<u32> {
        let octal =
            (3..=4).contains(&self.mode.len()) && self.mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        u32::from_str_radix(&self.mode, 8).ok().filter(|mode| octal && *mode <= 0o777)
    }
}

section! {
    /// `/healthcheck` of the API and of the operator's listener.
    pub struct Healthcheck {
        /// While this file exists the answer is 503 `DISABLED BY FILE`, so that a load balancer sends
        /// no more requests; those that come are answered all the same. Touch it to drain a node.
        pub disable_by_file: Option<PathBuf> = None,
        /// Networks and addresses that are answered; to others the URL is not there. Without any
        /// everybody is answered.
        pub allowed_source_ranges: Vec<IpNet> = Vec::new(),
    }
}

impl Api {
    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Functions {
    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Iron {
    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Admin {
    /// Address and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}
