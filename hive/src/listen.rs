//! Where a hive listens: what the command line says about the manifest's two addresses.
//!
//! Answers for both commands (`hive`, `hive-qemu`) understanding `--ninep` alike, and for which of the addresses decides
//! whether well-known secrets may be used.
//!
//! Never opens a socket.

use std::net::SocketAddr;
use std::str::FromStr;

use crate::manifest::Manifest;

/// The value of `--ninep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ninep {
    /// Listen for 9P clients there.
    At(SocketAddr),
    /// Do not listen for them.
    Off,
}

impl FromStr for Ninep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            addr => addr
                .parse()
                .map(Self::At)
                .map_err(|error| format!("{error}; give an address like 127.0.0.1:31338, or off")),
        }
    }
}

impl Ninep {
    /// Overrides the manifest.
    pub fn apply(self, manifest: &mut Manifest) {
        match self {
            Self::At(address) => manifest.ninep.get_or_insert_default().address = address,
            Self::Off => manifest.ninep = None,
        }
    }
}

/// The address whose reach decides about secrets: who reaches either of the two can try them.
pub fn exposed(manifest: &Manifest, console: SocketAddr) -> SocketAddr {
    manifest
        .ninep
        .as_ref()
        .map(|ninep| ninep.address)
        .filter(|address| !address.ip().is_loopback())
        .unwrap_or(console)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    #[test]
    fn an_address_or_off_overrides_the_manifest() {
        let console = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut told = Manifest::parse(manifest::DEFAULT).unwrap();
        assert_eq!(exposed(&told, console), console);
        "0.0.0.0:7".parse::<Ninep>().unwrap().apply(&mut told);
        assert_eq!(exposed(&told, console), SocketAddr::from(([0, 0, 0, 0], 7)));
        "off".parse::<Ninep>().unwrap().apply(&mut told);
        assert!(told.ninep.is_none());
        assert_eq!(exposed(&told, console), console);
        "127.0.0.1:9".parse::<Ninep>().unwrap().apply(&mut told);
        assert_eq!(told.ninep.unwrap().guest_port, 31338);
        let error = "on".parse::<Ninep>().unwrap_err();
        assert!(error.contains("or off"), "{error}");
    }
}
