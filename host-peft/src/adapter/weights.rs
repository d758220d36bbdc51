//! Weights: a safetensors file.
//!
//! Answers for its header being sound: its length, each tensor's dtype, shape and place, no gap, no overlap, nothing
//! behind the last one (the `safetensors` crate), and no name twice (here). Never looks at a weight.

use core::fmt;

use safetensors::SafeTensors;

use super::json;

/// Bytes of the length in front of the header.
const LENGTH_BYTES: usize = 8;

/// What a safetensors file has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Name and shape of each tensor, by name.
    pub shapes: Vec<(String, Vec<usize>)>,
}

impl Weights {
    /// Reads the header and holds it against the file.
    pub fn parse(file: &[u8]) -> Result<Weights, WeightsError> {
        // The crate holds the lengths against the file; afterwards the header is where they say.
        let (header_len, metadata) =
            SafeTensors::read_metadata(file).map_err(|why| WeightsError::Header(why.to_string()))?;
        let header = LENGTH_BYTES
            .checked_add(header_len)
            .and_then(|end| file.get(LENGTH_BYTES..end))
            .ok_or_else(|| WeightsError::Header("invalid header length".to_owned()))?;
        json::object(header).map_err(|why| WeightsError::Header(why.into_words()))?;
        let mut shapes: Vec<_> = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.shape.clone()))
            .collect();
        shapes.sort();
        if shapes.is_empty() {
            return Err(WeightsError::NoTensor);
        }
        Ok(Weights { shapes })
    }
}

/// Why a file holds no weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsError {
    /// Its header is not sound.
    Header(String),
    /// It is sound and empty.
    NoTensor,
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(why) => write!(f, "{why}"),
            Self::NoTensor => f.write_str("it has no tensor"),
        }
    }
}

impl std::error::Error for WeightsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with that header and so many bytes of data.
    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data, 7);
        file
    }

    const SOUND: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}"#;

    #[test]
    fn a_sound_file() {
        let weights = Weights::parse(&file(SOUND, 26)).unwrap();
        assert_eq!(
            weights.shapes,
            [("a".to_owned(), vec![2, 3]), ("b".to_owned(), vec![])]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, to, data, why) in [
            ("", "", 25, "not fully covered"),
            ("", "", 27, "not fully covered"),
            ("[0,24]", "[0,20]", 26, "invalid shape, data type, or offset"),
            ("[0,24]", "[4,28]", 28, "invalid offset for tensor `a`"),
            ("[24,26]", "[22,24]", 26, "invalid offset for tensor `b`"),
            ("[24,26]", "[26,28]", 28, "invalid offset for tensor `b`"),
            ("[0,24]", "[24,0]", 26, "invalid offset"),
            ("[0,24]", "[-1,24]", 26, "invalid JSON"),
            ("F32", "F33", 26, "unknown variant"),
            ("[2,3]", "[18446744073709551615,2]", 26, "overflow"),
            ("[2,3]", "[2,-3]", 26, "invalid JSON"),
            ("\"b\"", "\"a\"", 26, ""),
            ("\"pt\"", "1", 26, "invalid JSON"),
            ("{\"__metadata__\"", "[\"__metadata__\"", 26, "invalid JSON"),
        ] {
            let header = SOUND.replacen(from, to, 1);
            let said = Weights::parse(&file(&header, data)).unwrap_err().to_string();
            assert!(said.contains(why), "{from} -> {to}: {said}");
        }
        // The same name twice, and readers that take either find a sound file.
        let one = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        let said = Weights::parse(&file(&format!("{{{one},{one}}}"), 1)).unwrap_err();
        assert_eq!(
            said,
            WeightsError::Header("\"a\" stands twice at line 1 column 105".into())
        );
        assert_eq!(Weights::parse(&file("{}", 0)), Err(WeightsError::NoTensor));
        for (length, why) in [
            (u64::MAX, "too large"),
            (100_000_001, "too large"),
            (SOUND.len() as u64 + 27, "invalid header length"),
            (4, "invalid JSON"),
        ] {
            let mut file = file(SOUND, 26);
            file[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            let said = Weights::parse(&file).unwrap_err().to_string();
            assert!(said.contains(why), "{length}: {said}");
        }
        assert!(Weights::parse(b"1234567").is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0usize..200, byte: u8) {
            let _ = Weights::parse(&bytes);
            let mut file = file(SOUND, 26);
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            let _ = Weights::parse(&file);
        }
    }
}
