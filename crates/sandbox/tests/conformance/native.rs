//! The native driver under test. (Its bed comes with the spawner.)

use std::path::Path;
use std::sync::Arc;

use picasso_image::RootFs;

use crate::bed::Bed;

pub struct Native {
    pub bed: Arc<Bed>,
}

impl Native {
    pub async fn start(_dir: &Path, _rootfs: &Arc<RootFs>) -> Option<Self> {
        None
    }

    pub async fn stop(self) {}
}
