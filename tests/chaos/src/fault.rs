//! What goes wrong in a round, and its mending.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::process::Signal;

use crate::Trouble;
use crate::load::Load;
use crate::world::{Queue, World};

/// How long a cable stays cut: longer than a lease, so that those of running calls end.
const CUT: Duration = Duration::from_secs(6);

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for the server, then a new start.
    KillServer,
    /// SIGKILL for the broker, then a new start.
    KillBroker,
    /// SIGKILL for the database, then a new start.
    KillDatabase,
    /// No byte between server and broker for a while.
    CutBroker,
    /// No byte between server and database for a while.
    CutDatabase,
    /// No room on the server's disk until a call is refused, where its database is on it.
    FillDisk,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KillServer => "server killed",
            Self::KillBroker => "broker killed",
            Self::KillDatabase => "database killed",
            Self::CutBroker => "broker cut off",
            Self::CutDatabase => "database cut off",
            Self::FillDisk => "disk full",
        })
    }
}

impl Fault {
    /// What can go wrong with this queue and its database.
    pub fn of(queue: Queue) -> Vec<Self> {
        let mut all = vec![Self::KillServer, Self::FillDisk];
        if queue != Queue::Sqlite {
            all.extend([Self::KillBroker, Self::CutBroker, Self::KillDatabase, Self::CutDatabase]);
        }
        all
    }

    /// How many calls that ran may run again for it; `None` where the server lost track of those
    /// that it ran, because it could not write down how they ended.
    pub fn repeats(self) -> Option<usize> {
        match self {
            // The default of `queue.workers`, all of them at work.
            Self::KillServer => Some(16),
            Self::KillBroker | Self::CutBroker => Some(0),
            Self::KillDatabase | Self::CutDatabase | Self::FillDisk => None,
        }
    }

    /// Lets it happen, and mends it.
    pub async fn strike(self, world: &mut World, load: &Load) -> Result<(), Trouble> {
        let database_elsewhere = world.database.is_some();
        let World { cloud, broker, database, .. } = world;
        match (self, broker, database) {
            (Self::KillServer, ..) => {
                cloud.picasso.signal(Signal::KILL);
                cloud.picasso.start_again().await?;
            }
            (Self::FillDisk, ..) => {
                let path = cloud.picasso.data_dir().join("fill");
                fill(&File::create(&path)?);
                let felt = if database_elsewhere {
                    // Calls are accepted elsewhere; what runs here has to do without the disk.
                    tokio::time::sleep(CUT).await;
                    Ok(())
                } else {
                    load.hindered().await
                };
                std::fs::remove_file(path)?;
                felt?;
            }
            (Self::KillBroker, Some(broker), _) => {
                broker.service.kill().await?;
                broker.service.start_again().await?;
            }
            (Self::CutBroker, Some(broker), _) => {
                broker.cable.cut();
                tokio::time::sleep(CUT).await;
                broker.cable.mend();
            }
            (Self::KillDatabase, _, Some(database)) => {
                database.service.kill().await?;
                database.service.start_again().await?;
            }
            (Self::CutDatabase, _, Some(database)) => {
                database.cable.cut();
                tokio::time::sleep(CUT).await;
                database.cable.mend();
            }
            _ => return Err(format!("{self}: there is no such service here").into()),
        }
        Ok(())
    }
}

/// Takes all room that is left, in ever smaller pieces.
fn fill(file: &File) {
    let (mut end, mut piece) = (0, 64 << 20);
    while piece >= 4096 {
        match fallocate(file, FallocateFlags::empty(), end, piece) {
            Ok(()) => end += piece,
            Err(_) => piece /= 2,
        }
    }
}
