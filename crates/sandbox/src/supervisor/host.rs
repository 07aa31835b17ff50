//! What the supervisor does to the host as root: before the first spawner, after one that died,
//! and at the end.

use std::time::{Duration, Instant};

use picasso_types::InstanceId;

use super::data_dir::DataDir;
use super::id_block::IdBlock;
use super::{NativeSettings, SupervisorSettings};
use crate::Reaped;
use crate::egress::{self, EgressSettings};
use crate::native::cgroup::Cgroups;
use crate::native::reap;
use crate::native::spawner::{Level, SpawnerSettings, check_host, log, prepare_folders};
use crate::native::sys::Linux;

/// The host's side of the native driver and of both drivers' egress.
#[derive(Debug)]
pub(super) struct Host {
    instance: InstanceId,
    cgroups: Option<Cgroups>,
    ids: Option<IdBlock>,
    /// User and group of the engine.
    engine: (u32, u32),
    native: Option<NativeSettings>,
    egress: Option<EgressSettings>,
    docker_filter: bool,
    reaped: Reaped,
}

impl Host {
    /// Checks the host, removes what an earlier server with this data directory left, and loads
    /// what lives as long as the server. All faults are told at once.
    pub(super) fn prepare(
        settings: &SupervisorSettings,
        data_dir: &DataDir,
        engine: (u32, u32),
    ) -> Result<Self, Vec<String>> {
        let instance = data_dir.instance.clone();
        let egress = settings.egress.clone().map(|mut egress| {
            instance.as_str().clone_into(&mut egress.instance);
            egress
        });
        let mut host = Self {
            docker_filter: settings.docker && egress.is_some(),
            instance,
            cgroups: None,
            ids: None,
            engine,
            native: settings.native.clone(),
            egress,
            reaped: Reaped::default(),
        };
        let mut faults = Vec::new();
        if settings.native.is_some() {
            faults.extend(check_host().into_iter().map(|fault| {
                format!("{fault}; the native sandbox driver needs it (or use runtime = \"docker\")")
            }));
        }
        faults.extend(host.egress.iter().flat_map(EgressSettings::faults));
        if faults.is_empty() {
            host.take_over(data_dir).map_err(|fault| vec![fault])?;
            Ok(host)
        } else {
            Err(faults)
        }
    }

    fn take_over(&mut self, data_dir: &DataDir) -> Result<(), String> {
        if self.native.is_some() {
            let resolv_conf = self.egress.as_ref().map(EgressSettings::resolv_conf);
            prepare_folders(&data_dir.path, &resolv_conf.unwrap_or_default())
                .map_err(|e| format!("folders of the native driver: {e}"))?;
            // The server before this one may have used a runtime.
            let cgroups =
                Cgroups::detect_with_runtimes(&Linux, self.instance.as_str()).map_err(|e| e.to_string())?;
            self.reaped.sandboxes = reap::sandboxes(&Linux, &cgroups).map_err(|e| e.to_string())?;
            cgroups.prepare(&Linux).map_err(|e| e.to_string())?;
            self.cgroups = Some(cgroups);
            self.ids = Some(IdBlock::take()?);
        }
        match egress::reap(self.instance.as_str()) {
            Ok(networks) => self.reaped.networks = networks,
            Err(e) if self.egress.is_some() => return Err(e.to_string()),
            // Without egress there was most likely none before, and nothing to look with.
            Err(_) => {}
        }
        match &self.egress {
            Some(egress) if self.docker_filter => {
                egress::load_docker_filter(egress).map_err(|e| e.to_string())
            }
            _ => Ok(()),
        }
    }

    /// The settings of a spawner, and the lock it keeps open; `None` where there is to be none.
    pub(super) fn spawner(&mut self, data_dir: &DataDir) -> Option<(SpawnerSettings, &IdBlock)> {
        let (native, ids) = (self.native.clone()?, self.ids.as_ref()?);
        let settings = SpawnerSettings {
            instance: self.instance.as_str().to_owned(),
            data_dir: data_dir.path.clone(),
            first_id: ids.first,
            engine: self.engine,
            native,
            egress: self.egress.clone(),
            reaped: std::mem::take(&mut self.reaped),
        };
        Some((settings, ids))
    }

    /// Removes the sandboxes a dead spawner left. Its network worker took the network down by
    /// itself, or the next one's does before it sets its own up.
    pub(super) fn clean_up_after_spawner(&self) {
        if let Some(cgroups) = &self.cgroups {
            match reap::sandboxes(&Linux, cgroups) {
                Ok(0) => {}
                Ok(count) => {
                    let text = format!("removed {count} sandboxes of the dead spawner");
                    log(Level::Warn, "supervisor", &text);
                }
                Err(e) => log(Level::Error, "supervisor", &e.to_string()),
            }
        }
    }

    /// Leaves the host as it was found.
    pub(super) fn leave(&self) {
        self.clean_up_after_spawner();
        if let Some(cgroups) = &self.cgroups {
            let deadline = Instant::now() + Duration::from_secs(5);
            while matches!(cgroups.remove_base(&Linux), Ok(false)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            cgroups.leave(&Linux);
        }
        if self.egress.is_some()
            && let Err(e) = egress::reap(self.instance.as_str())
        {
            log(Level::Error, "supervisor", &format!("taking the egress network down: {e}"));
        }
    }
}
