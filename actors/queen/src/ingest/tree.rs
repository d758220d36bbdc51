//! `/queen/telemetry`, `/queen/export` and `/proc/ingest`, as parts of the queen's namespace.
//!
//! Answers for which files there are and who may open them: telemetry and jobs are the operators', how ingest is doing is
//! everybody's. A device's directory leads to its `ctl` before there is a device, since writing that makes it one.
//!
//! Never keeps a record: that is [`store`](super::store).

use alloc::rc::Rc;
use core::fmt::Write as _;

use ninep::{Attr, DirWriter, Name, OpenFlags, Qid};
use protocol::ingest::{DEVICE_BYTES, SegmentId, SegmentRequest};
use protocol::limits::CONTROL_BYTES;
use protocol::refusal::Refusal;

use super::devices::{DeviceId, is_name};
use super::jobs::JobFile;
use super::pace::Gauge;
use super::store::Store;
use crate::queen::Queen;
use crate::tree::{Session, SessionId, Subtree, copy};

/// This sub-tree's number in its files' identities.
const NUMBER: u64 = 2 << 48;
/// Bytes of a file that is one short line.
const LINE_BYTES: usize = 32;
/// Bytes of a line of a longer file: a gate's, with the longest id.
const LONG_LINE_BYTES: usize = 320;
/// Identities that files which nobody made yet have in common with each other at most.
const STRANGERS: u64 = 1 << 40;

/// A name that may become a device's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Label {
    bytes: [u8; DEVICE_BYTES],
    len: u8,
}

/// A file of one of the three directories.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    /// `/queen/telemetry`
    Telemetry,
    /// `/queen/telemetry/<device>`, and its `ctl`, before there is such a device.
    Stranger(Label),
    StrangerCtl(Label),
    /// `/queen/telemetry/<device>`
    Device(DeviceId),
    /// `/queen/telemetry/<device>/ctl`
    Ctl(DeviceId),
    /// `/queen/telemetry/<device>/latest`
    Latest(DeviceId),
    /// `/queen/telemetry/<device>/seg`
    Segments(DeviceId),
    /// `/queen/telemetry/<device>/seg/<segment>`
    Segment(DeviceId, SegmentId),
    /// `/queen/export`
    Export,
    /// `/queen/export/gates`
    Gates,
    /// `/queen/export/lora_jobs`
    Jobs,
    /// `/queen/export/lora_jobs/<job>`
    Job(u32),
    /// `/queen/export/lora_jobs/<job>/*`
    File(u32, JobFile),
    /// `/proc/ingest`
    Ingest,
    /// `/proc/ingest/*`
    Gauge(Gauge),
}

impl Label {
    fn of(name: &str) -> Option<Label> {
        let mut bytes = [0; DEVICE_BYTES];
        bytes
            .get_mut(..name.len())
            .filter(|_| is_name(name))?
            .copy_from_slice(name.as_bytes());
        Some(Label {
            bytes,
            len: name.len() as u8,
        })
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// A number that two names rarely share.
    fn number(&self) -> u64 {
        // FNV-1a: files are told apart, nothing is authenticated.
        let hash = self
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        STRANGERS | (hash >> 25)
    }
}

impl Node {
    fn is_dir(self) -> bool {
        matches!(
            self,
            Node::Telemetry
                | Node::Stranger(_)
                | Node::Device(_)
                | Node::Segments(_)
                | Node::Export
                | Node::Jobs
                | Node::Job(_)
                | Node::Ingest
        )
    }

    fn is_control(self) -> bool {
        matches!(self, Node::Ctl(_) | Node::StrangerCtl(_))
    }

    /// Everybody may look at it.
    fn is_public(self) -> bool {
        matches!(self, Node::Ingest | Node::Gauge(_))
    }
}

/// An open file.
pub(crate) struct Open {
    /// What a file of one line said when it was opened.
    text: heapless::String<LINE_BYTES>,
}

/// The sub-tree.
pub(crate) struct Tree {
    queen: Rc<Queen>,
}

impl Tree {
    pub(crate) fn new(queen: Rc<Queen>) -> Tree {
        Tree { queen }
    }

    fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.queen.ingest.store.borrow())
    }

    /// What a file of one line says; empty for every other.
    fn text(&self, node: Node) -> heapless::String<LINE_BYTES> {
        let mut text = heapless::String::new();
        // The capacity is that of the longest name and number.
        let _ = match node {
            Node::Latest(device) => match self.look(|store| store.devices.latest(device)) {
                Some(latest) => writeln!(text, "{latest}"),
                None => Ok(()),
            },
            Node::Gauge(gauge) if gauge != Gauge::Watch => {
                let number = self.queen.ingest.pace.borrow().number(gauge);
                writeln!(text, "{}={number}", gauge.name())
            }
            _ => Ok(()),
        };
        text
    }

    /// Size in bytes, for a file that is there.
    fn size(&self, node: Node) -> Result<u64, Refusal> {
        let gone = Refusal::InvalidPath;
        match node {
            Node::Stranger(_) => Err(gone),
            Node::Segment(device, id) => self.look(|store| {
                let segment = store.devices.segment(device, id).ok_or(gone)?;
                Ok(segment.len as u64)
            }),
            Node::Job(job) => self.look(|store| store.jobs.get(job).map(|_| 0).ok_or(gone)),
            Node::File(job, file) => self.look(|store| {
                let job = store.jobs.get(job).ok_or(gone)?;
                Ok(job.bytes(file) as u64)
            }),
            Node::Gates => Ok(self.lines(node, |_, _| true)),
            Node::Gauge(Gauge::Watch) => Ok(self.lines(node, |_, _| true)),
            _ => Ok(self.text(node).len() as u64),
        }
    }

    /// Shows the lines of a longer file and where each begins, until `visit` has had enough. Gives where it ended.
    fn lines(&self, node: Node, mut visit: impl FnMut(u64, &str) -> bool) -> u64 {
        let mut at = 0;
        let mut show = |text: &str| {
            let more = visit(at, text);
            at += text.len() as u64;
            more
        };
        let mut line: heapless::String<LONG_LINE_BYTES> = heapless::String::new();
        match node {
            Node::Gates => {
                for gate in self.queen.ingest.store.borrow().gates.all() {
                    line.clear();
                    // The capacity is that of the longest id and numbers; drifts beyond all reason are cut.
                    let _ = write!(line, "{gate}");
                    line.truncate(line.floor_char_boundary(LONG_LINE_BYTES - 1));
                    let _ = line.push('\n');
                    if !show(&line) {
                        break;
                    }
                }
            }
            Node::Gauge(Gauge::Watch) => {
                for text in self.queen.ingest.pace.borrow().lines() {
                    line.clear();
                    // A watch line is shorter.
                    let _ = writeln!(line, "{text}");
                    if !show(&line) {
                        break;
                    }
                }
            }
            _ => {}
        }
        at
    }

    fn read_lines(&self, node: Node, offset: u64, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        self.lines(node, |at, line| {
            let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) else {
                return false;
            };
            let skipped = offset.saturating_sub(at);
            if skipped < line.len() as u64 {
                filled += copy(line.as_bytes(), skipped, room);
            }
            true
        });
        filled
    }
}

impl Subtree for Tree {
    type Node = Node;
    type Open = Open;

    fn qid(&self, node: Node) -> Qid {
        let of = |device: DeviceId, file: u64| (1 << 32) + (u64::from(device.0) << 36) + file;
        let path = NUMBER
            + match node {
                Node::Telemetry => 1,
                Node::Export => 2,
                Node::Gates => 3,
                Node::Jobs => 4,
                Node::Ingest => 5,
                Node::Gauge(gauge) => 8 + gauge as u64,
                Node::Job(job) => (2 << 32) + 4 * u64::from(job),
                Node::File(job, file) => (2 << 32) + 4 * u64::from(job) + 1 + file as u64,
                Node::Device(device) => of(device, 0),
                Node::Ctl(device) => of(device, 1),
                Node::Latest(device) => of(device, 2),
                Node::Segments(device) => of(device, 3),
                Node::Segment(device, id) => of(device, 4) + u64::from(id.0),
                Node::Stranger(label) => label.number() << 1,
                Node::StrangerCtl(label) => (label.number() << 1) + 1,
            };
        match node {
            node if node.is_dir() => Qid::dir(path),
            Node::Ctl(_) | Node::StrangerCtl(_) | Node::Segment(..) => Qid::append(path),
            _ => Qid::file(path),
        }
    }

    fn child(&self, node: Node, name: &str) -> Option<Node> {
        match node {
            Node::Telemetry => match self.look(|store| store.devices.find(name)) {
                Some(device) => Some(Node::Device(device)),
                None => Label::of(name).map(Node::Stranger),
            },
            Node::Stranger(label) => (name == "ctl").then_some(Node::StrangerCtl(label)),
            Node::Device(device) => match name {
                "ctl" => Some(Node::Ctl(device)),
                "latest" => Some(Node::Latest(device)),
                "seg" => Some(Node::Segments(device)),
                _ => None,
            },
            Node::Segments(device) => {
                let id = SegmentId::parse(name)?;
                self.look(|store| store.devices.segment(device, id).is_some())
                    .then_some(Node::Segment(device, id))
            }
            Node::Export => match name {
                "gates" => Some(Node::Gates),
                "lora_jobs" => Some(Node::Jobs),
                _ => None,
            },
            Node::Jobs => self.look(|store| store.jobs.find(name).map(|job| Node::Job(job.facts.number))),
            Node::Job(job) => {
                let file = JobFile::ALL.into_iter().find(|file| file.name() == name)?;
                Some(Node::File(job, file))
            }
            Node::Ingest => {
                let gauge = Gauge::ALL.into_iter().find(|gauge| gauge.name() == name)?;
                Some(Node::Gauge(gauge))
            }
            _ => None,
        }
    }

    fn open(&self, session: &Session, node: Node, flags: OpenFlags) -> Result<Open, Refusal> {
        let allowed = session.is_operator() || (node.is_public() && !flags.writes());
        if node.is_public() || !allowed {
            self.queen.ingest.pace.borrow_mut().looked(allowed);
        }
        if !allowed {
            return Err(Refusal::Denied);
        }
        if node.is_control() && flags.reads() {
            // A control file has nothing to read.
            return Err(Refusal::InvalidPath);
        }
        if flags.writes() && !node.is_control() && !matches!(node, Node::Segment(..)) {
            return Err(Refusal::Denied);
        }
        // Whoever follows the watch lines asks for a new one: `TAIL` does, `CAT` does not.
        if node == Node::Gauge(Gauge::Watch) && flags.contains(OpenFlags::APPEND) {
            let (now, unix_ms) = (self.queen.ctx.now(), self.queen.ctx.unix_ms());
            self.queen.ingest.pace.borrow_mut().watch(now, unix_ms);
        }
        self.size(node)?;
        Ok(Open {
            text: self.text(node),
        })
    }

    async fn read(&self, node: Node, open: &mut Open, offset: u64, buf: &mut [u8]) -> Result<usize, Refusal> {
        match node {
            Node::Segment(device, id) => self.look(|store| store.devices.read(device, id, offset, buf)),
            Node::File(job, file) => self.look(|store| store.jobs.read(job, file, offset, buf)),
            Node::Gates | Node::Gauge(Gauge::Watch) => Ok(self.read_lines(node, offset, buf)),
            _ => Ok(copy(open.text.as_bytes(), offset, buf)),
        }
    }

    async fn write(
        &self,
        _session: &Session,
        node: Node,
        _open: &mut Open,
        data: &[u8],
    ) -> Result<(), Refusal> {
        match node {
            Node::Segment(device, id) => self.queen.add_records(device, id, data).await,
            Node::StrangerCtl(label) => {
                check_request(data)?;
                self.queen.begin_segment(label.as_str()).await
            }
            Node::Ctl(device) => {
                check_request(data)?;
                let name = self.look(|store| Label::of(store.devices.name(device)));
                self.queen
                    .begin_segment(name.ok_or(Refusal::InvalidPath)?.as_str())
                    .await
            }
            _ => Err(Refusal::Denied),
        }
    }

    fn readdir(
        &self,
        node: Node,
        _open: &mut Open,
        offset: u64,
        out: &mut DirWriter<'_>,
    ) -> Result<(), Refusal> {
        // An entry's offset is what the names that follow it are found by: places of devices and numbers of segments and
        // jobs do not change while a client lists them.
        let mut push = |next: u64, child: Node, name: &str| {
            let name = Name::new(name).map_err(|_| Refusal::InvalidPath)?;
            Ok::<bool, Refusal>(out.push(self.qid(child), next, name))
        };
        let store = self.queen.ingest.store.borrow();
        match node {
            Node::Telemetry => {
                let mut last = offset.checked_sub(1).map(|place| DeviceId(place as u16));
                while let Some(device) = store.devices.next(last) {
                    let name = store.devices.name(device);
                    if !push(u64::from(device.0) + 1, Node::Device(device), name)? {
                        break;
                    }
                    last = Some(device);
                }
            }
            Node::Segments(device) => {
                let mut last = u32::try_from(offset).unwrap_or(u32::MAX);
                while let Some(id) = store.devices.next_segment(device, last) {
                    let mut name: heapless::String<16> = heapless::String::new();
                    // A u32 has ten digits.
                    let _ = write!(name, "{id}");
                    if !push(u64::from(id.0), Node::Segment(device, id), &name)? {
                        break;
                    }
                    last = id.0;
                }
            }
            Node::Jobs => {
                let from = match u32::try_from(offset).ok().filter(|number| *number > 0) {
                    None => "",
                    // A listing that was under way when its last job went is over.
                    Some(number) => store.jobs.get(number).map_or("\u{7f}", |job| job.id.as_str()),
                };
                let mut last = store.jobs.next(from);
                while let Some(job) = last {
                    let number = job.facts.number;
                    if !push(u64::from(number), Node::Job(number), &job.id)? {
                        break;
                    }
                    last = store.jobs.next(&job.id);
                }
            }
            _ => {
                let fixed: &[&str] = match node {
                    Node::Device(_) => &["ctl", "latest", "seg"],
                    Node::Export => &["gates", "lora_jobs"],
                    Node::Job(_) => &JobFile::ALL.map(JobFile::name),
                    Node::Ingest => &Gauge::ALL.map(Gauge::name),
                    _ => return Err(Refusal::InvalidPath),
                };
                drop(store);
                for (next, name) in (1..).zip(fixed) {
                    let child = self.child(node, name).ok_or(Refusal::InvalidPath)?;
                    if next > offset && !push(next, child, name)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn getattr(&self, session: &Session, node: Node) -> Result<Attr, Refusal> {
        let qid = self.qid(node);
        let size = match node {
            // A mount looks at every name on the way to the `ctl`.
            Node::Stranger(_) => 0,
            _ => self.size(node)?,
        };
        let operator = session.is_operator();
        let mode = match node {
            _ if node.is_public() => 0o444,
            _ if !operator => 0,
            _ if node.is_control() => 0o200,
            Node::Segment(..) => 0o600,
            _ => 0o400,
        };
        Ok(match node.is_dir() {
            true => Attr::dir(qid, mode | (mode >> 2 & 0o111)),
            false => Attr::file(qid, mode, size),
        })
    }

    fn ended(&self, _session: SessionId) {}
}

/// Whether what was written to a `ctl` asks for a segment.
fn check_request(data: &[u8]) -> Result<(), Refusal> {
    if data.len() > CONTROL_BYTES + 1 {
        return Err(Refusal::TooLong);
    }
    let text = core::str::from_utf8(data).map_err(|_| Refusal::InvalidPayload)?;
    SegmentRequest::parse(text)
        .map(drop)
        .ok_or(Refusal::InvalidPayload)
}
