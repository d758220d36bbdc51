//! `gpu-telemetry/v1`: what a device says of a model's work.
//!
//! Answers for finding a sample in a record, whether it is bare or the payload of a [`Push`], JSON or CBOR, and for
//! reading what decides over a model's gate. Required are `schema_version`, `device_id`, `model_id`, `time_window`,
//! `token_count` and `latency_histogram`; further fields may be there. It never judges the values of a time window or a
//! histogram beyond their kind: producers differ.
//!
//! CBOR travels in a line of text, as `b64:` and its base64.

use minicbor::Decoder;
use minicbor::data::Type;

use super::Push;
use crate::b64;
use crate::json;

/// The schema of a sample.
pub const SAMPLE_SCHEMA: &str = "gpu-telemetry/v1";
/// Bytes of an id in a sample (WIRE 5.3).
pub const ID_BYTES: usize = 128;

/// What a record carries, without its envelope and its base64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Carried<'a> {
    /// A line of JSON, without its newline.
    Json(&'a str),
    /// One data item of CBOR.
    Cbor(&'a [u8]),
}

/// A sample, as far as a gate looks at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Who took it.
    pub device_id: &'a str,
    /// The model that was at work.
    pub model_id: &'a str,
    /// The adapter on top of it.
    pub lora_id: Option<&'a str>,
    /// Tokens that the model worked on; finite, not negative.
    pub token_count: f64,
    /// How far the model has drifted; finite.
    pub drift: Option<f64>,
    /// How sure the model was; finite.
    pub confidence: Option<f64>,
    /// How uncertain its output was; finite.
    pub entropy: Option<f64>,
}

impl<'a> Carried<'a> {
    /// What a record carries. What is in an envelope or in base64 is written into `scratch`, for which twice the record's
    /// length is enough. `None` if that is not one line of JSON or an item of CBOR.
    pub fn of(record: &'a str, scratch: &'a mut [u8]) -> Option<Carried<'a>> {
        match Push::parse(record) {
            None => Carried::bare(record, scratch),
            Some(push) => {
                let len = push.payload(scratch)?.len();
                let (payload, scratch) = scratch.split_at_mut_checked(len)?;
                Carried::bare(core::str::from_utf8(payload).ok()?, scratch)
            }
        }
    }

    fn bare(record: &'a str, scratch: &'a mut [u8]) -> Option<Carried<'a>> {
        let record = record.trim();
        match record.strip_prefix(b64::PREFIX) {
            Some(digits) => b64::decode(digits, scratch).ok().map(Carried::Cbor),
            None => (!record.is_empty() && !record.contains('\n')).then_some(Carried::Json(record)),
        }
    }

    /// The sample that it is, if it is one.
    pub fn sample(self) -> Option<Sample<'a>> {
        match self {
            Carried::Json(line) => from_json(line),
            Carried::Cbor(item) => from_cbor(item),
        }
    }
}

/// The fields as they are found; all of the required ones make a sample.
#[derive(Default)]
struct Found<'a> {
    named: bool,
    version: bool,
    device_id: Option<&'a str>,
    model_id: Option<&'a str>,
    lora_id: Option<&'a str>,
    time_window: bool,
    token_count: Option<f64>,
    latency_histogram: bool,
    drift: Option<f64>,
    confidence: Option<f64>,
    entropy: Option<f64>,
}

/// A field's value, as far as a sample needs to know it.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Null,
    Bool,
    Number(f64),
    Text(&'a str),
    /// An array or a map.
    Nested,
    /// A text with escapes, or bytes.
    Other,
}

impl<'a> Found<'a> {
    /// Takes a field. `None` if with this value no sample can come of it.
    fn take(&mut self, name: &str, value: Seen<'a>) -> Option<()> {
        let absent = matches!(value, Seen::Null);
        match name {
            "schema" | "schema_version" => {
                self.named |= matches!(value, Seen::Text(SAMPLE_SCHEMA));
                self.version |= name == "schema_version" && matches!(value, Seen::Text(_) | Seen::Number(_));
            }
            "device_id" => once(&mut self.device_id, id(value)?)?,
            "model_id" => once(&mut self.model_id, id(value)?)?,
            "lora_id" if !absent => once(&mut self.lora_id, id(value)?)?,
            "time_window" => {
                let fits = matches!(value, Seen::Nested | Seen::Text(_) | Seen::Number(_));
                self.time_window = (fits && !self.time_window).then_some(true)?;
            }
            "token_count" => once(
                &mut self.token_count,
                number(value).filter(|count| *count >= 0.0)?,
            )?,
            "latency_histogram" => {
                let fits = matches!(value, Seen::Nested);
                self.latency_histogram = (fits && !self.latency_histogram).then_some(true)?;
            }
            "drift" if !absent => once(&mut self.drift, number(value)?)?,
            "confidence" if !absent => once(&mut self.confidence, number(value)?)?,
            "entropy" if !absent => once(&mut self.entropy, number(value)?)?,
            _ => {}
        }
        Some(())
    }

    fn sample(self) -> Option<Sample<'a>> {
        let whole = self.named && self.version && self.time_window && self.latency_histogram;
        let sample = Sample {
            device_id: self.device_id?,
            model_id: self.model_id?,
            lora_id: self.lora_id,
            token_count: self.token_count?,
            drift: self.drift,
            confidence: self.confidence,
            entropy: self.entropy,
        };
        whole.then_some(sample)
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

fn id(value: Seen<'_>) -> Option<&str> {
    let Seen::Text(text) = value else { return None };
    let good = (1..=ID_BYTES).contains(&text.len())
        && !text.contains('/')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    (good && json::plain(text)).then_some(text)
}

fn number(value: Seen<'_>) -> Option<f64> {
    match value {
        Seen::Number(number) if number.is_finite() => Some(number),
        _ => None,
    }
}

fn from_json(line: &str) -> Option<Sample<'_>> {
    let mut found = Found::default();
    json::object(line, |name, value| {
        let seen = if value.is_null() {
            Seen::Null
        } else if value.is_bool() {
            Seen::Bool
        } else if value.is_nested() {
            Seen::Nested
        } else if let Some(number) = value.number() {
            Seen::Number(number)
        } else {
            value.text().map_or(Seen::Other, Seen::Text)
        };
        found.take(name, seen)
    })?;
    found.sample()
}

fn from_cbor(item: &[u8]) -> Option<Sample<'_>> {
    let mut decoder = Decoder::new(item);
    let mut left = decoder.map().ok()?;
    let mut found = Found::default();
    loop {
        match &mut left {
            Some(0) => break,
            Some(left) => *left -= 1,
            None if decoder.datatype().ok()? == Type::Break => {
                decoder.skip().ok()?;
                break;
            }
            None => {}
        }
        let name = decoder.str().ok()?;
        let seen = cbor_value(&mut decoder)?;
        found.take(name, seen)?;
    }
    (decoder.position() == item.len()).then(|| found.sample())?
}

fn cbor_value<'a>(decoder: &mut Decoder<'a>) -> Option<Seen<'a>> {
    let seen = match decoder.datatype().ok()? {
        Type::F16 => Seen::Number(decoder.f16().ok()?.into()),
        Type::F32 => Seen::Number(decoder.f32().ok()?.into()),
        Type::F64 => Seen::Number(decoder.f64().ok()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Seen::Number(decoder.u64().ok()? as f64),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Seen::Number(decoder.i64().ok()? as f64),
        Type::String => Seen::Text(decoder.str().ok()?),
        other => {
            decoder.skip().ok()?;
            match other {
                Type::Null | Type::Undefined => Seen::Null,
                Type::Bool => Seen::Bool,
                Type::Array | Type::ArrayIndef | Type::Map | Type::MapIndef => Seen::Nested,
                _ => Seen::Other,
            }
        }
    };
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::Encoder;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    const LINE: &str = r#"{"schema_version":"gpu-telemetry/v1","device_id":"dev-1","model_id":"m","time_window":{"start_ms":1,"end_ms":2},"token_count":17,"latency_histogram":[1,2,3],"drift":0.25}"#;

    fn sample(record: &str) -> Option<(String, Option<f64>)> {
        let mut scratch = [0; 4096];
        let sample = Carried::of(record, &mut scratch)?.sample()?;
        Some((sample.model_id.to_string(), sample.drift))
    }

    fn expected() -> Option<(String, Option<f64>)> {
        Some(("m".to_string(), Some(0.25)))
    }

    fn cbor() -> ([u8; 256], usize) {
        let mut bytes = [0; 256];
        let mut out = minicbor::encode::write::Cursor::new(&mut bytes[..]);
        let mut e = Encoder::new(&mut out);
        (|| {
            e.map(7)?.str("schema_version")?.str(SAMPLE_SCHEMA)?;
            e.str("device_id")?.str("dev-1")?.str("model_id")?.str("m")?;
            e.str("time_window")?.array(2)?.u8(1)?.u8(2)?;
            e.str("token_count")?.u32(17)?;
            e.str("latency_histogram")?.map(1)?.str("p50")?.f64(1.5)?;
            e.str("drift")?.f32(0.25)?;
            Ok::<(), minicbor::encode::Error<minicbor::encode::write::EndOfSlice>>(())
        })()
        .unwrap();
        let len = out.position();
        (bytes, len)
    }

    #[test]
    fn bare_pushed_and_in_cbor_it_is_the_same() {
        assert_eq!(sample(LINE), expected());
        assert_eq!(sample(&std::format!("{LINE}\n")), expected());
        let push = |payload: &str| {
            let escaped = payload
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            std::format!(
                r#"{{"schema":"cohsh-telemetry-push/v1","seq":1,"mime":"application/json","payload":"{escaped}"}}"#
            )
        };
        assert_eq!(sample(&push(LINE)), expected());
        assert_eq!(sample(&push(&std::format!("{LINE}\n"))), expected());
        assert_eq!(
            sample(&push(&std::format!("{LINE}\n{LINE}"))),
            None,
            "one record an envelope"
        );
        assert_eq!(sample(&push(&LINE[..40])), None, "a part of a record is none");
        let (bytes, len) = cbor();
        let line = std::format!("b64:{}", b64::Digits(&bytes[..len]));
        assert_eq!(sample(&line), expected());
        assert_eq!(sample(&push(&line)), expected());
        let longer = std::format!("b64:{}", b64::Digits(&bytes[..len + 1]));
        assert_eq!(sample(&longer), None, "nothing may follow the item");
        for cut in 0..len {
            assert_eq!(Carried::Cbor(&bytes[..cut]).sample(), None);
        }
    }

    #[test]
    fn optional_fields_and_strangers() {
        let with = |more: &str| sample(&LINE.replace(r#""drift":0.25"#, more)).map(|(_, drift)| drift);
        assert_eq!(with(r#""drift":null"#), Some(None));
        assert_eq!(
            with(r#""lora_id":"l","confidence":0.5,"entropy":1,"feedback_flags":["x"]"#),
            Some(None)
        );
        assert_eq!(
            with(r#""lora_id":null,"host":{"name":"a\"b"},"note":"é\n""#),
            Some(None)
        );
        for refused in [
            r#""drift":"0.5""#,
            r#""drift":1e999"#,
            r#""drift":1,"drift":2"#,
            r#""entropy":[]"#,
            r#""lora_id":7"#,
        ] {
            assert_eq!(with(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_is_required_is_required() {
        for (from, to) in [
            (r#""schema_version":"gpu-telemetry/v1","#, ""),
            ("gpu-telemetry/v1", "gpu-telemetry/v2"),
            (r#""device_id":"dev-1","#, ""),
            (r#""model_id":"m""#, r#""model_id":"""#),
            (r#""model_id":"m""#, r#""model_id":"a/b""#),
            (r#""model_id":"m""#, r#""model_id":7"#),
            (r#""time_window":{"start_ms":1,"end_ms":2},"#, ""),
            (r#"{"start_ms":1,"end_ms":2}"#, "null"),
            (r#""token_count":17,"#, ""),
            (":17", ":-1"),
            (":17", ":\"17\""),
            ("[1,2,3]", "3"),
            (r#""latency_histogram":[1,2,3],"#, ""),
        ] {
            let line = LINE.replace(from, to);
            assert_ne!(line, LINE);
            assert_eq!(sample(&line), None, "{line}");
        }
        let own_version = LINE.replace(
            r#""schema_version":"gpu-telemetry/v1""#,
            r#""schema":"gpu-telemetry/v1","schema_version":1"#,
        );
        assert_eq!(sample(&own_version), expected());
    }

    proptest! {
        #[test]
        fn a_drift_is_read_as_it_was_meant(drift in -1e9..1e9f64, tokens in 0..1u64 << 50) {
            let line = LINE.replace(":17", &std::format!(":{tokens}")).replace("0.25", &drift.to_string());
            let mut scratch = [0; 512];
            let sample = Carried::of(&line, &mut scratch).unwrap().sample().unwrap();
            prop_assert_eq!((sample.drift, sample.token_count), (Some(drift), tokens as f64));
        }

        #[test]
        fn anything_is_a_record(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
            let _ = Carried::Cbor(&bytes).sample();
            let _ = sample(&text);
        }
    }
}
