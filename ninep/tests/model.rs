//! A server against a model of what its answers must be, under random requests.

mod common;

use std::collections::BTreeMap;

use common::*;
use ninep::codec::{Tmessage, VERSION};
use ninep::ramtree::RamTree;
use ninep::{Errno, OpenFlags, Qid, ServerConfig};
use proptest::prelude::*;

const FIDS: usize = 5;
const MSIZE: u32 = 300;
const LIMIT: usize = 700;

/// The file system: path to contents, `None` for a directory.
type Files = BTreeMap<&'static str, Option<Vec<u8>>>;

const PATHS: [(&str, Option<&[u8]>); 6] = [
    ("", None),
    ("/dir", None),
    ("/dir/a", Some(b"alpha")),
    ("/dir/sub", None),
    ("/dir/sub/deep", Some(b"")),
    ("/top", Some(b"0123456789")),
];

const NAMES: [&str; 6] = ["dir", "a", "sub", "deep", "top", "none"];

fn tree() -> RamTree {
    let tree = RamTree::new();
    let dir = tree.add_dir(RamTree::ROOT, "dir").unwrap();
    tree.add_file(dir, "a", b"alpha", LIMIT).unwrap();
    let sub = tree.add_dir(dir, "sub").unwrap();
    tree.add_file(sub, "deep", b"", LIMIT).unwrap();
    tree.add_file(RamTree::ROOT, "top", b"0123456789", LIMIT).unwrap();
    tree
}

#[derive(Clone)]
struct ModelFid {
    path: String,
    open: Option<OpenFlags>,
}

struct Model {
    files: Files,
    fids: BTreeMap<u32, ModelFid>,
}

/// A reply without what the model does not predict: qids but their number.
#[derive(Debug, PartialEq)]
enum Expected {
    Error(Errno),
    Version,
    Attach,
    Walk(usize),
    Open,
    Read(Vec<u8>),
    Write(u32),
    Readdir(Vec<String>),
    Size(u64),
    Clunk,
}

impl From<Errno> for Expected {
    fn from(errno: Errno) -> Expected {
        Expected::Error(errno)
    }
}

fn expected(reply: Reply) -> Expected {
    match reply {
        Reply::Error(errno) => Expected::Error(errno),
        Reply::Version(..) => Expected::Version,
        Reply::Attach(_) => Expected::Attach,
        Reply::Walk(qids) => Expected::Walk(qids.len()),
        Reply::Open(..) => Expected::Open,
        Reply::Read(data) => Expected::Read(data),
        Reply::Write(count) => Expected::Write(count),
        Reply::Readdir(entries) => Expected::Readdir(entries.into_iter().map(|(name, _)| name).collect()),
        Reply::Getattr(attr) => Expected::Size(attr.size),
        Reply::Clunk => Expected::Clunk,
        other => panic!("{other:?} answers nothing that was asked"),
    }
}

impl Model {
    fn new() -> Model {
        let files = PATHS
            .iter()
            .map(|(path, bytes)| (*path, bytes.map(Vec::from)))
            .collect();
        Model {
            files,
            fids: BTreeMap::new(),
        }
    }

    fn answer(&mut self, message: &Tmessage<'_>) -> Result<Expected, Errno> {
        Ok(match *message {
            Tmessage::Version { .. } => {
                self.fids.clear();
                Expected::Version
            }
            Tmessage::Attach { fid, .. } => {
                self.add(fid.raw(), String::new())?;
                Expected::Attach
            }
            Tmessage::Walk { fid, newfid, names } => self.walk(fid.raw(), newfid.raw(), names.as_slice())?,
            Tmessage::Open { fid, flags } => {
                let file = self.fids.get_mut(&fid.raw()).ok_or(Errno::EBADF)?;
                let contents = self.files.get_mut(file.path.as_str()).unwrap();
                match (&file.open, contents) {
                    (Some(_), _) => return Err(Errno::EINVAL),
                    (_, None) if flags.writes() => return Err(Errno::EISDIR),
                    (_, Some(bytes)) if flags.writes() && flags.contains(OpenFlags::TRUNC) => bytes.clear(),
                    _ => {}
                }
                file.open = Some(flags);
                Expected::Open
            }
            Tmessage::Read { fid, offset, count } => {
                let (file, _) = self.opened(fid.raw(), OpenFlags::reads)?;
                let bytes = file.as_ref().ok_or(Errno::EISDIR)?;
                let count = count.min(MSIZE - 11) as usize;
                Expected::Read(bytes.iter().skip(offset as usize).take(count).copied().collect())
            }
            Tmessage::Write { fid, offset, data } => {
                let (file, flags) = self.opened(fid.raw(), OpenFlags::writes)?;
                let bytes = file.as_mut().ok_or(Errno::EISDIR)?;
                let at = if flags.contains(OpenFlags::APPEND) {
                    bytes.len()
                } else {
                    offset as usize
                };
                let count = data.len().min(LIMIT.saturating_sub(at));
                if count == 0 && !data.is_empty() {
                    return Err(Errno::ENOSPC);
                }
                for (place, byte) in (at..).zip(&data[..count]) {
                    if bytes.len() <= place {
                        bytes.resize(place + 1, 0);
                    }
                    bytes[place] = *byte;
                }
                Expected::Write(count as u32)
            }
            Tmessage::Readdir { fid, offset, .. } => {
                let path = self.fids.get(&fid.raw()).ok_or(Errno::EBADF)?.path.clone();
                let (file, _) = self.opened(fid.raw(), OpenFlags::reads)?;
                if file.is_some() {
                    return Err(Errno::ENOTDIR);
                }
                let parent = format!("{path}/");
                let children = PATHS
                    .iter()
                    .filter_map(|(other, _)| other.strip_prefix(parent.as_str()));
                let names = children.filter(|name| !name.contains('/')).map(String::from);
                Expected::Readdir(names.skip(offset as usize).collect())
            }
            Tmessage::Getattr { fid, .. } => {
                let file = self.fids.get(&fid.raw()).ok_or(Errno::EBADF)?;
                Expected::Size(self.files[file.path.as_str()].as_ref().map_or(0, Vec::len) as u64)
            }
            Tmessage::Clunk { fid } => {
                self.fids.remove(&fid.raw()).ok_or(Errno::EBADF)?;
                Expected::Clunk
            }
            ref other => panic!("{other:?} is not generated"),
        })
    }

    fn walk(&mut self, from: u32, to: u32, names: &[&str]) -> Result<Expected, Errno> {
        if names.len() > 8 {
            return Err(Errno::EINVAL);
        }
        let start = self.fids.get(&from).ok_or(Errno::EBADF)?.clone();
        if from == to {
            if start.open.is_some() {
                return Err(Errno::EINVAL);
            }
        } else {
            self.check_new(to)?;
        }
        let mut path = start.path;
        for (walked, name) in names.iter().enumerate() {
            let next = format!("{path}/{name}");
            if !self.files.contains_key(next.as_str()) {
                return if walked == 0 {
                    Err(Errno::ENOENT)
                } else {
                    Ok(Expected::Walk(walked))
                };
            }
            path = next;
        }
        self.fids.insert(to, ModelFid { path, open: None });
        Ok(Expected::Walk(names.len()))
    }

    fn check_new(&self, fid: u32) -> Result<(), Errno> {
        if self.fids.contains_key(&fid) {
            Err(Errno::EINVAL)
        } else if self.fids.len() >= FIDS {
            Err(Errno::EMFILE)
        } else {
            Ok(())
        }
    }

    fn add(&mut self, fid: u32, path: String) -> Result<(), Errno> {
        self.check_new(fid)?;
        self.fids.insert(fid, ModelFid { path, open: None });
        Ok(())
    }

    fn opened(
        &mut self,
        fid: u32,
        access: fn(OpenFlags) -> bool,
    ) -> Result<(&mut Option<Vec<u8>>, OpenFlags), Errno> {
        let file = self.fids.get(&fid).ok_or(Errno::EBADF)?;
        let flags = file.open.filter(|flags| access(*flags)).ok_or(Errno::EBADF)?;
        Ok((self.files.get_mut(file.path.as_str()).unwrap(), flags))
    }
}

#[derive(Debug, Clone)]
enum Request {
    Version,
    Attach(u32),
    Walk(u32, u32, Vec<&'static str>),
    Open(u32, OpenFlags),
    Read(u32, u64, u32),
    Write(u32, u64, Vec<u8>),
    Readdir(u32, u64),
    Getattr(u32),
    Clunk(u32),
}

impl Request {
    fn message(&self) -> Tmessage<'_> {
        match self {
            Request::Version => Tmessage::Version {
                msize: MSIZE,
                version: VERSION,
            },
            Request::Attach(fid) => attach(*fid),
            Request::Walk(from, to, names) => walk(*from, *to, names),
            Request::Open(fid, flags) => open(*fid, *flags),
            Request::Read(fid, offset, count) => read(*fid, *offset, *count),
            Request::Write(fid, offset, data) => write(*fid, *offset, data),
            Request::Readdir(fid, offset) => readdir(*fid, *offset, MSIZE),
            Request::Getattr(fid) => getattr(*fid),
            Request::Clunk(fid) => clunk(*fid),
        }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let fid = || 0..7u32;
    let offset = || prop_oneof![4 => 0..20u64, 1 => 600..800u64];
    let path = prop_oneof![
        8 => prop::sample::select(PATHS.to_vec())
            .prop_map(|(path, _)| path.split('/').skip(1).collect::<Vec<_>>()),
        3 => prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..10),
    ];
    let flags = (0..3u32, any::<bool>(), any::<bool>()).prop_map(|(access, trunc, append)| {
        let trunc = if trunc {
            OpenFlags::TRUNC
        } else {
            OpenFlags::RDONLY
        };
        let append = if append {
            OpenFlags::APPEND
        } else {
            OpenFlags::RDONLY
        };
        OpenFlags(access) | trunc | append
    });
    prop_oneof![
        1 => Just(Request::Version),
        6 => fid().prop_map(Request::Attach),
        20 => (fid(), fid(), path).prop_map(|(from, to, path)| Request::Walk(from, to, path)),
        20 => (fid(), flags).prop_map(|(fid, flags)| Request::Open(fid, flags)),
        10 => (fid(), offset(), 0..400u32).prop_map(|(fid, at, count)| Request::Read(fid, at, count)),
        10 => (fid(), offset(), prop::collection::vec(any::<u8>(), 0..270))
            .prop_map(|(fid, at, data)| Request::Write(fid, at, data)),
        5 => (fid(), 0..4u64).prop_map(|(fid, at)| Request::Readdir(fid, at)),
        5 => fid().prop_map(Request::Getattr),
        8 => fid().prop_map(Request::Clunk),
    ]
}

proptest! {
    #[test]
    fn the_server_answers_as_the_model_does(requests in prop::collection::vec(any_request(), 1..120)) {
        let mut model = Model::new();
        let config = ServerConfig { msize: MSIZE, fids: FIDS, tags: 2, handlers: 2 };
        let mut hand = Hand::new(tree(), config);
        hand.ask(Request::Version.message());
        hand.ask(attach(0));
        model.add(0, String::new()).unwrap();
        for request in &requests {
            let message = request.message();
            let wanted = model.answer(&message).unwrap_or_else(Expected::from);
            prop_assert_eq!(expected(hand.ask(message)), wanted, "{:?}", request);
        }
    }
}

#[test]
fn the_model_and_the_tree_start_alike() {
    let tree = tree();
    let mut hand = Hand::attached(tree, ServerConfig::default());
    for (number, (path, contents)) in (1..).zip(PATHS) {
        let names: Vec<&str> = path.split('/').skip(1).collect();
        let opened = hand.opened(number, &names, OpenFlags::RDONLY);
        assert!(matches!(opened, Reply::Open(Qid { .. }, _)), "{path}");
        match contents {
            Some(bytes) => assert_eq!(hand.ask(read(number, 0, 1000)), Reply::Read(bytes.to_vec())),
            None => assert_eq!(hand.refused(read(number, 0, 1000)), Errno::EISDIR),
        }
    }
}
