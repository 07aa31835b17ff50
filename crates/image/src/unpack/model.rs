//! A layer's tree in memory: applies the same rules as the disk without writing anything.
//!
//! Used where a layer is there already and only has to be proven, and where Docker does the
//! unpacking and we still want to refuse what the native driver would refuse.

use std::collections::HashMap;

use super::path::{LayerPath, NameBudget};
use super::walk::{Content, Meta, Sink};
use crate::UnpackError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder { children: u64 },
    Link,
    Whiteout,
    Other,
}

/// The model; see the module.
#[derive(Default)]
pub(super) struct ModelSink {
    nodes: HashMap<LayerPath, Node>,
    names: NameBudget,
    implied: u64,
}

impl ModelSink {
    /// Makes the folders on the way to `path`, refusing links and files there.
    fn reach_parent(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        let Some((parent, _)) = path.split() else { return Ok(()) };
        self.reach(&parent)
    }

    fn reach(&mut self, folder: &LayerPath) -> Result<(), UnpackError> {
        if folder.is_root() || matches!(self.nodes.get(folder), Some(Node::Folder { .. })) {
            return Ok(());
        }
        let mut at = LayerPath::default();
        for component in folder.components() {
            at = at.join(component);
            match self.nodes.get(&at) {
                Some(Node::Folder { .. }) => {}
                Some(Node::Link) => return Err(through_link(folder)),
                Some(Node::Other) => {
                    return Err(refused(format!("\"{folder}\" lies below something that is not a folder")));
                }
                None | Some(Node::Whiteout) => {
                    self.implied += 1;
                    self.put(&at, Node::Folder { children: 0 })?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &LayerPath, node: Node) -> Result<(), UnpackError> {
        self.names.take(path)?;
        if self.nodes.insert(path.clone(), node).is_none()
            && let Some((parent, _)) = path.split()
            && let Some(Node::Folder { children }) = self.nodes.get_mut(&parent)
        {
            *children += 1;
        }
        Ok(())
    }

    fn put_other(&mut self, path: &LayerPath, node: Node) -> Result<(), UnpackError> {
        self.reach_parent(path)?;
        if matches!(self.nodes.get(path), Some(Node::Folder { children: 1.. })) {
            return Err(refused(format!(
                "\"{path}\" is in the layer both as a folder with content and as something else"
            )));
        }
        self.put(path, node)
    }
}

impl Sink for ModelSink {
    fn directory(&mut self, path: &LayerPath, _meta: &Meta) -> Result<(), UnpackError> {
        self.reach_parent(path)?;
        if path.is_root() || matches!(self.nodes.get(path), Some(Node::Folder { .. })) {
            return Ok(());
        }
        self.put(path, Node::Folder { children: 0 })
    }

    fn file(&mut self, path: &LayerPath, _meta: &Meta, content: &mut Content<'_>) -> Result<(), UnpackError> {
        self.put_other(path, Node::Other)?;
        let mut buffer = vec![0_u8; 128 * 1024];
        while content(&mut buffer)? > 0 {}
        Ok(())
    }

    fn symlink(&mut self, path: &LayerPath, _meta: &Meta, _target: &[u8]) -> Result<(), UnpackError> {
        self.put_other(path, Node::Link)
    }

    fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> Result<(), UnpackError> {
        let mut at = LayerPath::default();
        let (folder, _) = target.split().unwrap_or_default();
        for component in folder.components() {
            at = at.join(component);
            match self.nodes.get(&at) {
                Some(Node::Folder { .. }) => {}
                Some(Node::Link) => return Err(through_link(&folder)),
                _ => break,
            }
        }
        let node = match self.nodes.get(target) {
            Some(node @ (Node::Link | Node::Other)) => *node,
            _ => {
                return Err(refused(format!(
                    "the hard link \"{path}\" points at \"{target}\", which is not a file of the same layer"
                )));
            }
        };
        self.put_other(path, node)
    }

    fn fifo(&mut self, path: &LayerPath, _meta: &Meta) -> Result<(), UnpackError> {
        self.put_other(path, Node::Other)
    }

    fn whiteout(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        self.reach_parent(path)?;
        if self.nodes.contains_key(path) { Ok(()) } else { self.put(path, Node::Whiteout) }
    }

    fn opaque(&mut self, path: &LayerPath) -> Result<(), UnpackError> {
        self.reach(path)
    }

    fn implied_folders(&self) -> u64 {
        self.implied
    }
}

fn through_link(folder: &LayerPath) -> UnpackError {
    refused(format!("\"{folder}\" would be written through a symbolic link of the same layer"))
}

fn refused(reason: String) -> UnpackError {
    UnpackError::Refused(reason)
}
