//! Where a service of the tests runs: on this machine's loopback, or in a network of its own
//! ([`crate::network::CloudNetwork`]) that functions reach by egress, too.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::process::free_port;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    namespace: Option<String>,
    address: Ipv4Addr,
}

impl Default for Place {
    fn default() -> Self {
        Self { namespace: None, address: Ipv4Addr::LOCALHOST }
    }
}

impl Place {
    /// In a network namespace, at its address.
    pub(crate) fn within(namespace: String, address: Ipv4Addr) -> Self {
        Self { namespace: Some(namespace), address }
    }

    /// The address that its services listen on.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port that nothing listens on: the usual one where the network is the cloud's alone.
    pub fn port(&self, usual: u16) -> std::io::Result<u16> {
        match &self.namespace {
            Some(_) => Ok(usual),
            None => free_port(),
        }
    }

    /// The command of a program that will run here, under the process id that it is started with.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}
