//! Taking the listening sockets, with messages that say who is in the way.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use picasso_config::Settings;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::failure::ServerFailure;

/// All sockets of a server.
pub(super) struct Listeners {
    /// The OpenStack face and function URLs; `None` without Keystone.
    pub(super) openstack: Option<OpenStackListeners>,
    /// The IronFunctions face.
    pub(super) iron: Option<TcpListener>,
    pub(super) admin: TcpListener,
    pub(super) admin_socket: UnixListener,
    admin_path: PathBuf,
}

/// The sockets that need Keystone behind them.
pub(super) struct OpenStackListeners {
    pub(super) api: TcpListener,
    pub(super) functions: TcpListener,
}

impl OpenStackListeners {
    async fn bind(settings: &Settings) -> Result<Self, ServerFailure> {
        let listeners = &settings.listeners;
        Ok(Self {
            api: tcp("API", "listeners.api", listeners.api.address()).await?,
            functions: tcp("function URLs", "listeners.functions", listeners.functions.address()).await?,
        })
    }
}

impl Listeners {
    pub(super) async fn bind(settings: &Settings) -> Result<Self, ServerFailure> {
        let listeners = &settings.listeners;
        let admin_path = settings.admin_socket();
        let openstack =
            if settings.server.standalone { None } else { Some(OpenStackListeners::bind(settings).await?) };
        let iron = if settings.serves_iron() {
            Some(tcp("IronFunctions face", "listeners.iron", listeners.iron.address()).await?)
        } else {
            None
        };
        Ok(Self {
            openstack,
            iron,
            admin: tcp("metrics", "listeners.admin", listeners.admin.address()).await?,
            admin_socket: unix(&admin_path).await?,
            admin_path,
        })
    }

    /// Where people reach the server.
    pub(super) fn describe(&self) -> String {
        let url = |listener: &TcpListener| {
            listener.local_addr().map_or_else(|_| "?".to_owned(), |address| format!("http://{address}"))
        };
        let mut faces = Vec::new();
        if let Some(openstack) = &self.openstack {
            faces.push(format!("API {}", url(&openstack.api)));
            faces.push(format!("function URLs {}", url(&openstack.functions)));
        }
        faces.extend(self.iron.as_ref().map(|iron| format!("IronFunctions {}", url(iron))));
        faces.push(format!("metrics {}/metrics", url(&self.admin)));
        faces.push(format!("admin socket {}", self.admin_path.display()));
        faces.join(", ")
    }
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
