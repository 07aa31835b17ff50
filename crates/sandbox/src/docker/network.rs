//! The Docker network of sandboxes with network access.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::api::{Api, status};
use super::container::{INSTANCE_LABEL, labels};
use crate::SandboxError;
use crate::egress::{EgressSettings, docker_bridge};

/// Its name in Docker.
pub(super) fn name(instance: &str) -> String {
    format!("picasso-{instance}")
}

/// Makes the network unless it is there: a bridge with the name the packet filter knows, whose
/// containers do not reach each other.
pub(super) async fn ensure(api: &Api, settings: &EgressSettings) -> Result<(), SandboxError> {
    let name = name(&settings.instance);
    let wanted = name.as_str();
    let inspect = api
        .call(|docker| async move { docker.inspect_network(wanted, None::<InspectNetworkOptions>).await })
        .await;
    match inspect {
        Ok(_) => return Ok(()),
        Err(error) if status(&error) == Some(404) => {}
        Err(error) => return Err(api.error("looking for the sandboxes' Docker network", &error)),
    }
    let option = |key: &str, value: String| (format!("com.docker.network.bridge.{key}"), value);
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(false),
        attachable: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(settings.subnet.trunc().to_string()),
                gateway: Some(settings.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(HashMap::from([
            option("name", docker_bridge(&settings.instance)),
            option("enable_icc", "false".to_owned()),
            option("enable_ip_masquerade", "true".to_owned()),
        ])),
        labels: Some(labels(&settings.instance)),
        ..NetworkCreateRequest::default()
    };
    match api.call(|docker| async move { docker.create_network(request).await }).await {
        Ok(_) => Ok(()),
        Err(error) => Err(api.error("making the sandboxes' Docker network", &error)),
    }
}

/// Removes the instance's networks; how many there were.
pub(super) async fn reap(api: &Api, instance: &str) -> Result<u32, SandboxError> {
    let ours = HashMap::from([("label", vec![format!("{INSTANCE_LABEL}={instance}")])]);
    let options = ListNetworksOptionsBuilder::new().filters(&ours).build();
    let networks = api
        .call(|docker| async move { docker.list_networks(Some(options)).await })
        .await
        .map_err(|error| api.error("listing Docker networks", &error))?;
    let mut removed = 0;
    for id in networks.into_iter().filter_map(|network| network.id) {
        match api.call(|docker| async move { docker.remove_network(&id).await }).await {
            Ok(()) => removed += 1,
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(api.error("removing a Docker network", &error)),
        }
    }
    Ok(removed)
}
