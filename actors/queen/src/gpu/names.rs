//! The files below `/gpu`: which there are, what they are called, what kind they are.
//!
//! Answers for names leading where a listing says, and for a file of something that is not published any more being
//! gone.
//!
//! Never reads or writes one.

use ninep::Qid;
use protocol::role::Role;

use super::lines::Lines;
use super::record::File;
use super::store::{GpuRef, Gpus};
use crate::tree::Session;

/// This sub-tree's number in its files' identities.
const NUMBER: u64 = 1 << 48;

/// A file below `/gpu`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    /// `/gpu`
    Root,
    /// `/gpu/bridge`
    Bridge,
    /// `/gpu/bridge/ctl`
    BridgeCtl,
    /// `/gpu/bridge/status`
    BridgeStatus,
    /// `/gpu/models`
    Models,
    /// `/gpu/models/active`
    Active,
    /// `/gpu/models/available`
    Available,
    /// `/gpu/models/available/<id>`
    Model(ModelRef),
    /// `/gpu/models/available/<id>/manifest.toml`
    Manifest(ModelRef),
    /// `/gpu/telemetry`
    Telemetry,
    /// `/gpu/telemetry/schema.json`
    Schema,
    /// `/gpu/<id>`
    Gpu(GpuRef),
    /// `/gpu/<id>/info`
    Info(GpuRef),
    /// `/gpu/<id>/{ctl,lease,status}`
    Lines(GpuRef, File),
}

/// A model of one publish, by its place in the order of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelRef {
    index: u8,
    installs: u32,
}

/// The next of a directory's names after `after`, in their order, and what it leads to.
pub(super) fn next_name<'g>(node: Node, gpus: &'g Gpus, after: Option<&str>) -> Option<(&'g str, Node)> {
    let fixed: &[&str] = match node {
        Node::Root => &["bridge", "models", "telemetry"],
        Node::Bridge => &["ctl", "status"],
        Node::Models => &["active", "available"],
        Node::Model(_) => &["manifest.toml"],
        Node::Telemetry => &["schema.json"],
        Node::Gpu(_) => &["ctl", "info", "lease", "status"],
        _ => &[],
    };
    let published = gpus.published();
    let living = matches!(node, Node::Root).then(|| gpus.ids());
    let models = matches!(node, Node::Available).then(|| published.models().map(|model| model.0));
    fixed
        .iter()
        .copied()
        .chain(living.into_iter().flatten())
        .chain(models.into_iter().flatten())
        .filter(|name| after.is_none_or(|after| *name > after))
        .filter_map(|name| Some((name, node.child(gpus, name)?)))
        .min_by_key(|(name, _)| *name)
}

impl Node {
    /// The sub-tree's own directory.
    pub(crate) const ROOT: Node = Node::Root;

    /// The file of that name, if there is one now.
    pub(super) fn child(self, gpus: &Gpus, name: &str) -> Option<Node> {
        let child = match (self, name) {
            (Node::Root, "bridge") => Node::Bridge,
            (Node::Root, "models") => Node::Models,
            (Node::Root, "telemetry") => Node::Telemetry,
            (Node::Root, id) => Node::Gpu(gpus.find(id)?),
            (Node::Bridge, "ctl") => Node::BridgeCtl,
            (Node::Bridge, "status") => Node::BridgeStatus,
            (Node::Models, "active") => Node::Active,
            (Node::Models, "available") => Node::Available,
            (Node::Available, id) => {
                let index = gpus.published().models().position(|model| model.0 == id)?;
                Node::Model(ModelRef {
                    index: u8::try_from(index).ok()?,
                    installs: gpus.installs(),
                })
            }
            (Node::Model(model), "manifest.toml") => Node::Manifest(model),
            (Node::Telemetry, "schema.json") => Node::Schema,
            (Node::Gpu(gpu), "ctl") => Node::Lines(gpu, File::Ctl),
            (Node::Gpu(gpu), "info") => Node::Info(gpu),
            (Node::Gpu(gpu), "lease") => Node::Lines(gpu, File::Lease),
            (Node::Gpu(gpu), "status") => Node::Lines(gpu, File::Status),
            _ => return None,
        };
        child.exists(gpus).then_some(child)
    }

    /// Whether it is still there.
    pub(super) fn exists(self, gpus: &Gpus) -> bool {
        match self {
            Node::Root | Node::Bridge | Node::BridgeCtl | Node::BridgeStatus => true,
            Node::Models | Node::Active | Node::Available | Node::Telemetry => gpus.is_published(),
            Node::Schema => gpus.is_published() && gpus.published().schema().is_some(),
            Node::Model(model) | Node::Manifest(model) => {
                gpus.is_published() && gpus.installs() == model.installs
            }
            Node::Gpu(gpu) | Node::Info(gpu) | Node::Lines(gpu, _) => gpus.info(gpu).is_some(),
        }
    }

    /// The text of a file that a publish replaces as a whole.
    pub(super) fn text(self, gpus: &Gpus) -> Option<&str> {
        match self {
            Node::Info(gpu) => gpus.info(gpu),
            Node::Manifest(model) if self.exists(gpus) => {
                let mut models = gpus.published().models();
                models.nth(usize::from(model.index)).map(|model| model.1)
            }
            Node::Schema if self.exists(gpus) => gpus.published().schema(),
            _ => None,
        }
    }

    /// The lines of a file that grows.
    pub(super) fn lines(self, gpus: &Gpus) -> Option<&Lines> {
        match self {
            Node::Lines(gpu, file) => gpus.lines(gpu, file),
            Node::Active if self.exists(gpus) => Some(gpus.active()),
            _ => None,
        }
    }

    /// Bytes of a file of either kind.
    pub(super) fn size(self, gpus: &Gpus) -> usize {
        let text = self.text(gpus).map(str::len);
        text.or(self.lines(gpus).map(Lines::len)).unwrap_or_default()
    }

    /// Whether that session may write it; others are denied.
    pub(super) fn writer(self, session: &Session) -> bool {
        self.is_writable() && session.role() == Some(Role::Queen)
    }

    pub(super) fn is_writable(self) -> bool {
        matches!(self, Node::BridgeCtl | Node::Active | Node::Lines(..))
    }

    /// Whether there is nothing to read.
    pub(super) fn is_control(self) -> bool {
        self == Node::BridgeCtl
    }

    pub(super) fn is_dir(self) -> bool {
        match self {
            Node::Root | Node::Bridge | Node::Models | Node::Available | Node::Model(_) => true,
            Node::Telemetry | Node::Gpu(_) => true,
            Node::BridgeCtl | Node::BridgeStatus | Node::Active | Node::Manifest(_) => false,
            Node::Schema | Node::Info(_) | Node::Lines(..) => false,
        }
    }

    pub(super) fn qid(self) -> Qid {
        let gpu = |gpu: GpuRef, file: u64| 0x1000 + 8 * u64::from(gpu.slot()) + file;
        let model = |model: ModelRef, file: u64| 0x2000 + 8 * u64::from(model.index) + file;
        let path = NUMBER
            + match self {
                Node::Root => 1,
                Node::Bridge => 2,
                Node::BridgeCtl => 3,
                Node::BridgeStatus => 4,
                Node::Models => 5,
                Node::Active => 6,
                Node::Available => 7,
                Node::Telemetry => 8,
                Node::Schema => 9,
                Node::Model(of) => model(of, 0),
                Node::Manifest(of) => model(of, 1),
                Node::Gpu(of) => gpu(of, 0),
                Node::Info(of) => gpu(of, 1),
                Node::Lines(of, file) => gpu(of, 2 + file as u64),
            };
        if self.is_dir() {
            Qid::dir(path)
        } else if self.is_writable() {
            Qid::append(path)
        } else {
            Qid::file(path)
        }
    }
}
