//! Taking the listening sockets: those that were made for us, and our own, with messages that say
//! who is in the way.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use picasso_api::{FaceListener, ServerTls, Socket};
use picasso_config::Settings;
use picasso_config::settings::Tls;
use picasso_sandbox::supervisor::ListeningSocket;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::certificates;
use crate::failure::ServerFailure;

/// All sockets of a server.
pub(super) struct Listeners {
    /// The OpenStack face and function URLs; `None` without Keystone.
    pub(super) openstack: Option<OpenStackListeners>,
    /// The IronFunctions face.
    pub(super) iron: Option<FaceListener>,
    pub(super) admin: FaceListener,
    pub(super) admin_socket: UnixListener,
    admin_path: PathBuf,
}

/// The sockets that need Keystone behind them.
pub(super) struct OpenStackListeners {
    pub(super) api: FaceListener,
    pub(super) functions: FaceListener,
}

impl Listeners {
    /// `made` are those that came with the process; a face that has some makes none of its own.
    pub(super) async fn bind(
        settings: &Settings,
        mut made: Vec<ListeningSocket>,
    ) -> Result<Self, ServerFailure> {
        let (api, functions, admin) =
            (&settings.listeners.api, &settings.listeners.functions, &settings.listeners.admin);
        let admin_path = settings.admin_socket();
        let iron = &settings.listeners.iron;
        let openstack = if settings.server.standalone {
            None
        } else {
            Some(OpenStackListeners {
                api: face("API", "api", api.address(), &api.tls, &mut made).await?,
                functions: face("function URLs", "functions", functions.address(), &functions.tls, &mut made)
                    .await?,
            })
        };
        let iron = if settings.serves_iron() {
            let face = face("IronFunctions face", "iron", iron.address(), &iron.tls, &mut made).await?;
            // The settings' own rule does not see sockets that were passed.
            let open = face.addresses().into_iter().find(|address| !address.ip().is_loopback());
            if let (Some(address), None) = (open, &settings.iron.jwt_auth_key) {
                return Err(ServerFailure::new(format!(
                    "the IronFunctions face would be open to everybody who reaches {address}"
                ))
                .hint("set iron.jwt_auth_key, or pass a socket of a loopback address"));
            }
            Some(face)
        } else {
            None
        };
        let listeners = Self {
            openstack,
            iron,
            admin: face("metrics", "admin", admin.address(), &admin.tls, &mut made).await?,
            admin_socket: unix(&admin_path).await?,
            admin_path,
        };
        match made.first() {
            None => Ok(listeners),
            Some(left) => Err(ServerFailure::new(format!("no listener is named {:?}", left.name)).hint(
                "FileDescriptorName= of a passed socket must be api, functions, iron or admin, and that face \
                 must be served",
            )),
        }
    }

    /// The certificates of all faces.
    pub(super) fn certificates(&self) -> Vec<Arc<ServerTls>> {
        let openstack = self.openstack.iter().flat_map(|faces| [&faces.api, &faces.functions]);
        let all = openstack.chain(&self.iron).chain([&self.admin]);
        all.filter_map(|face| face.tls.clone()).collect()
    }

    /// Where people reach the server.
    pub(super) fn describe(&self) -> String {
        let mut faces = Vec::new();
        if let Some(openstack) = &self.openstack {
            faces.push(format!("API {}", describe(&openstack.api)));
            faces.push(format!("function URLs {}", describe(&openstack.functions)));
        }
        faces.extend(self.iron.as_ref().map(|iron| format!("IronFunctions {}", describe(iron))));
        faces.push(format!("metrics {}/metrics", describe(&self.admin)));
        faces.push(format!("admin socket {}", self.admin_path.display()));
        faces.join(", ")
    }
}

/// A face's sockets. `name` is that of its section below `listeners`, and of sockets that are made
/// for it.
async fn face(
    what: &str,
    name: &str,
    address: SocketAddr,
    tls: &Tls,
    made: &mut Vec<ListeningSocket>,
) -> Result<FaceListener, ServerFailure> {
    let section = format!("listeners.{name}");
    let tls = certificates::load(&section, tls)?;
    let mut sockets = Vec::new();
    for made in made.extract_if(.., |made| made.name == name) {
        sockets.push(taken_over(made.socket).map_err(|error| {
            ServerFailure::new(format!("the socket {name} that was passed cannot be used"))
                .because(error)
                .hint("it must be a listening stream socket: ListenStream= with Accept=no")
        })?);
    }
    if sockets.is_empty() {
        sockets.push(Socket::Tcp(tcp(what, &section, address).await?));
    }
    Ok(FaceListener { sockets, tls })
}

fn taken_over(socket: OwnedFd) -> io::Result<Socket> {
    let refused = |told: &str| Err(io::Error::new(ErrorKind::InvalidInput, told));
    if sockopt::socket_type(&socket)? != SocketType::STREAM || !sockopt::socket_acceptconn(&socket)? {
        return refused("it does not listen for connections");
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    match sockopt::socket_domain(&socket)? {
        AddressFamily::INET | AddressFamily::INET6 => {
            Ok(Socket::Tcp(TcpListener::from_std(std::net::TcpListener::from(socket))?))
        }
        AddressFamily::UNIX => {
            Ok(Socket::Unix(UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?))
        }
        _ => refused("it is neither an IP socket nor a Unix socket"),
    }
}

fn describe(face: &FaceListener) -> String {
    let scheme = if face.tls.is_some() { "https" } else { "http" };
    let sockets = face.sockets.iter().map(|socket| match socket {
        Socket::Tcp(listener) => {
            listener.local_addr().map_or_else(|_| "?".to_owned(), |at| format!("{scheme}://{at}"))
        }
        Socket::Unix(listener) => {
            let at = listener.local_addr().ok();
            let path = at.as_ref().and_then(|at| at.as_pathname());
            path.map_or_else(|| "a Unix socket".to_owned(), |path| path.display().to_string())
        }
    });
    sockets.collect::<Vec<_>>().join(" and ")
}

async fn tcp(what: &str, section: &str, address: SocketAddr) -> Result<TcpListener, ServerFailure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => format!(
                "another process has port {}: `ss -ltnp 'sport = :{}'` names it; end it, or set {section}.port",
                address.port(),
                address.port()
            ),
            ErrorKind::PermissionDenied => {
                format!("ports below 1024 are root's; set {section}.port and put a proxy in front")
            }
            ErrorKind::AddrNotAvailable => format!("this machine does not have that address; set {section}.host"),
            _ => format!("look at {section}.host and {section}.port"),
        };
        ServerFailure::new(format!("cannot listen on {address} for the {what}")).because(error).hint(hint)
    })
}

/// A socket file that nobody listens on is what a killed server left.
async fn unix(path: &Path) -> Result<UnixListener, ServerFailure> {
    let failed = |error: io::Error| {
        ServerFailure::new(format!("cannot listen on {}", path.display()))
            .because(error)
            .hint("listeners.admin.socket names it; the server's user must be able to write its folder")
    };
    if UnixStream::connect(path).await.is_ok() {
        return Err(failed(ErrorKind::AddrInUse.into()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_number_and_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let told = tcp("API", "listeners.api", address).await.unwrap_err().to_string();
        assert!(told.contains(&format!("cannot listen on {address} for the API")), "{told}");
        assert!(told.contains("listeners.api.port"), "{told}");
    }

    #[tokio::test]
    async fn a_passed_socket_takes_the_place_of_the_address_and_needs_a_known_name() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.server.data_dir = folder.path().to_owned();
        (settings.listeners.functions.port, settings.listeners.admin.port) = (0, 0);
        // Could not be bound again.
        settings.listeners.api.host = taken.local_addr().unwrap().ip();
        settings.listeners.api.port = taken.local_addr().unwrap().port();
        let made = |name: &str, path: &str| {
            let socket = std::os::unix::net::UnixListener::bind(folder.path().join(path)).unwrap();
            ListeningSocket { name: name.to_owned(), socket: socket.into() }
        };
        let both = vec![made("api", "one"), made("api", "two")];
        let listeners = Listeners::bind(&settings, both).await.unwrap();
        let openstack = listeners.openstack.as_ref().unwrap();
        assert!(matches!(openstack.api.sockets[..], [Socket::Unix(_), Socket::Unix(_)]));
        assert!(listeners.describe().contains("/one and "), "{}", listeners.describe());
        drop(listeners);

        let unknown = vec![made("api", "three"), made("web", "four")];
        let told = Listeners::bind(&settings, unknown).await.err().unwrap().to_string();
        assert!(told.contains("no listener is named \"web\""), "{told}");
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let connected = vec![ListeningSocket { name: "api".to_owned(), socket: one.into() }];
        let told = Listeners::bind(&settings, connected).await.err().unwrap().to_string();
        assert!(told.contains("the socket api that was passed cannot be used"), "{told}");
    }

    #[tokio::test]
    async fn without_a_key_the_ironfunctions_face_takes_no_socket_that_others_can_reach() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.server.data_dir = folder.path().to_owned();
        settings.server.standalone = true;
        settings.listeners.admin.port = 0;
        let passed = |address: &str| {
            let socket = std::net::TcpListener::bind(address).unwrap();
            vec![ListeningSocket { name: "iron".to_owned(), socket: socket.into() }]
        };
        let told = Listeners::bind(&settings, passed("0.0.0.0:0")).await.err().unwrap().to_string();
        assert!(told.contains("would be open to everybody who reaches 0.0.0.0:"), "{told}");
        assert!(Listeners::bind(&settings, passed("127.0.0.1:0")).await.is_ok());
        settings.iron.jwt_auth_key = Some("a key".into());
        assert!(Listeners::bind(&settings, passed("0.0.0.0:0")).await.is_ok());
    }

    #[tokio::test]
    async fn a_socket_left_by_a_killed_server_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listening = unix(&path).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert!(unix(&path).await.is_err());
        drop(listening);
    }
}
