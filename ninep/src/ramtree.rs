//! A file tree in memory, for examples and tests.
//!
//! Answers for directories and files of bounded length that anyone may read and
//! write. Takes all its memory when a file is made. Never checks who asks.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::attr::Attr;
use crate::dir::DirWriter;
use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::name::{Name, NameError};
use crate::qid::Qid;
use crate::tree::FileTree;

/// A tree of files in memory.
pub struct RamTree {
    files: RefCell<Vec<Entry>>,
}

/// A file of a [`RamTree`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeId(usize);

struct Entry {
    kind: Kind,
    version: u32,
}

enum Kind {
    Dir(Vec<(String, NodeId)>),
    File { bytes: Vec<u8>, limit: usize },
}

impl RamTree {
    /// The root directory of every tree.
    pub const ROOT: NodeId = NodeId(0);

    /// An empty directory.
    pub fn new() -> RamTree {
        let root = Entry {
            kind: Kind::Dir(Vec::new()),
            version: 0,
        };
        RamTree {
            files: RefCell::new(alloc::vec![root]),
        }
    }

    /// Adds a directory; the parent must be one.
    pub fn add_dir(&self, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        self.add(parent, name, Kind::Dir(Vec::new()))
    }

    /// Adds a file with `contents` that grows to at most `limit` bytes.
    pub fn add_file(
        &self,
        parent: NodeId,
        name: &str,
        contents: &[u8],
        limit: usize,
    ) -> Result<NodeId, Errno> {
        if contents.len() > limit {
            return Err(Errno::ENOSPC);
        }
        let mut bytes = Vec::with_capacity(limit);
        bytes.extend_from_slice(contents);
        self.add(parent, name, Kind::File { bytes, limit })
    }

    /// A copy of a file's contents; empty for a directory.
    pub fn contents(&self, node: NodeId) -> Vec<u8> {
        match self.files.borrow().get(node.0).map(|entry| &entry.kind) {
            Some(Kind::File { bytes, .. }) => bytes.clone(),
            _ => Vec::new(),
        }
    }

    /// Puts other contents into a file, within its limit.
    pub fn set_contents(&self, node: NodeId, contents: &[u8]) -> Result<(), Errno> {
        self.with(node, |entry| {
            let Kind::File { bytes, limit } = &mut entry.kind else {
                return Err(Errno::EISDIR);
            };
            if contents.len() > *limit {
                return Err(Errno::ENOSPC);
            }
            bytes.clear();
            bytes.extend_from_slice(contents);
            entry.version += 1;
            Ok(())
        })
    }

    fn add(&self, parent: NodeId, name: &str, kind: Kind) -> Result<NodeId, Errno> {
        let name = Name::new(name).map_err(NameError::errno)?;
        let mut files = self.files.borrow_mut();
        let node = NodeId(files.len());
        let entry = files.get_mut(parent.0).ok_or(Errno::ENOENT)?;
        let Kind::Dir(children) = &mut entry.kind else {
            return Err(Errno::ENOTDIR);
        };
        if children.iter().any(|(other, _)| other == name.as_str()) {
            return Err(Errno::EEXIST);
        }
        children.push((name.as_str().into(), node));
        entry.version += 1;
        files.push(Entry { kind, version: 0 });
        Ok(node)
    }

    fn with<R>(&self, node: NodeId, f: impl FnOnce(&mut Entry) -> Result<R, Errno>) -> Result<R, Errno> {
        f(self.files.borrow_mut().get_mut(node.0).ok_or(Errno::ENOENT)?)
    }

    fn qid(&self, node: NodeId) -> Result<Qid, Errno> {
        self.with(node, |entry| Ok(entry.qid(node)))
    }

    fn child(&self, node: NodeId, name: &str) -> Option<NodeId> {
        let files = self.files.borrow();
        match &files.get(node.0)?.kind {
            Kind::Dir(children) => children
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, child)| *child),
            Kind::File { .. } => None,
        }
    }
}

impl Default for RamTree {
    fn default() -> RamTree {
        RamTree::new()
    }
}

impl Entry {
    fn qid(&self, node: NodeId) -> Qid {
        let qid = match self.kind {
            Kind::Dir(_) => Qid::dir(node.0 as u64),
            Kind::File { .. } => Qid::file(node.0 as u64),
        };
        Qid {
            version: self.version,
            ..qid
        }
    }
}

impl FileTree for RamTree {
    type Node = NodeId;
    /// Whether writes go to the end.
    type Open = bool;

    async fn attach(&self, _uname: &str, _aname: &str) -> Result<(NodeId, Qid), Errno> {
        Ok((RamTree::ROOT, self.qid(RamTree::ROOT)?))
    }

    async fn walk(
        &self,
        from: &NodeId,
        names: &[&str],
        qids: &mut [Qid],
    ) -> Result<(usize, Option<NodeId>), Errno> {
        let mut node = *from;
        for (walked, (name, qid)) in names.iter().zip(qids).enumerate() {
            match self.child(node, name) {
                Some(child) => node = child,
                None if walked == 0 => return Err(Errno::ENOENT),
                None => return Ok((walked, None)),
            }
            *qid = self.qid(node)?;
        }
        Ok((names.len(), Some(node)))
    }

    async fn open(&self, node: &NodeId, flags: OpenFlags) -> Result<(bool, Qid, u32), Errno> {
        self.with(*node, |entry| {
            if let Kind::File { bytes, .. } = &mut entry.kind
                && flags.contains(OpenFlags::TRUNC)
                && flags.writes()
            {
                bytes.clear();
                entry.version += 1;
            }
            Ok((flags.contains(OpenFlags::APPEND), entry.qid(*node), 0))
        })
    }

    async fn read(
        &self,
        node: &NodeId,
        _append: &mut bool,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Errno> {
        self.with(*node, |entry| {
            let Kind::File { bytes, .. } = &entry.kind else {
                return Err(Errno::EISDIR);
            };
            let rest = usize::try_from(offset)
                .ok()
                .and_then(|at| bytes.get(at..))
                .unwrap_or(&[]);
            let count = rest.len().min(buf.len());
            if let (Some(place), Some(data)) = (buf.get_mut(..count), rest.get(..count)) {
                place.copy_from_slice(data);
            }
            Ok(count)
        })
    }

    async fn write(
        &self,
        node: &NodeId,
        append: &mut bool,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, Errno> {
        self.with(*node, |entry| {
            let Kind::File { bytes, limit } = &mut entry.kind else {
                return Err(Errno::EISDIR);
            };
            let at = if *append {
                bytes.len()
            } else {
                usize::try_from(offset).map_err(|_| Errno::EFBIG)?
            };
            if data.is_empty() {
                return Ok(0);
            }
            let count = data.len().min(limit.saturating_sub(at));
            if count == 0 {
                return Err(Errno::ENOSPC);
            }
            let end = at.saturating_add(count).max(bytes.len());
            if end <= *limit {
                bytes.resize(end, 0);
            }
            if let (Some(place), Some(data)) =
                (bytes.get_mut(at..at.saturating_add(count)), data.get(..count))
            {
                place.copy_from_slice(data);
            }
            entry.version = entry.version.wrapping_add(1);
            Ok(count)
        })
    }

    async fn readdir(
        &self,
        node: &NodeId,
        _append: &mut bool,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Errno> {
        let files = self.files.borrow();
        let Some(Kind::Dir(children)) = files.get(node.0).map(|entry| &entry.kind) else {
            return Err(Errno::ENOTDIR);
        };
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, child)) in children.iter().enumerate().skip(first) {
            let qid = files
                .get(child.0)
                .map(|entry| entry.qid(*child))
                .ok_or(Errno::EIO)?;
            let name = Name::new(name).map_err(NameError::errno)?;
            if !out.push(qid, at as u64 + 1, name) {
                break;
            }
        }
        Ok(())
    }

    async fn getattr(&self, node: &NodeId) -> Result<Attr, Errno> {
        self.with(*node, |entry| {
            let qid = entry.qid(*node);
            Ok(match &entry.kind {
                Kind::Dir(_) => Attr::dir(qid, 0o777),
                Kind::File { bytes, .. } => Attr::file(qid, 0o666, bytes.len() as u64),
            })
        })
    }

    async fn clunk(&self, _node: NodeId, _append: Option<bool>) {}
}
