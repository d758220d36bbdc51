//! `/queen/ctl`: one strict JSON object a line (WIRE 4.4, CONTROL 3).
//!
//! Answers for reading a line into a request and for writing the same line. Unknown fields, duplicate
//! fields and mixed forms are refused. It never decides whether a request may be granted.

use core::fmt;

use serde::Deserialize;

use crate::json::{plain, present};
use crate::line::{Line, NoSpace};
use crate::path::Path;

/// Ticks of a heartbeat worker that was spawned without a number (WIRE 2.5, 4.4).
pub const DEFAULT_TICKS: u64 = 1000;

/// A request to the queen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueenRequest<'a> {
    /// `{"spawn":"heartbeat"[,"ticks":N][,"budget":{..}]}`
    SpawnHeartbeat {
        /// Ticks the worker may make; > 0.
        ticks: u64,
        /// Further limits.
        budget: Budget,
    },
    /// `{"spawn":"gpu","lease":{..}[,"budget":{..}]}`
    SpawnGpu {
        /// What the worker asks of a GPU.
        lease: GpuLease<'a>,
        /// Further limits.
        budget: Budget,
    },
    /// `{"kill":"worker-1"}`
    Kill {
        /// The worker.
        id: &'a str,
    },
    /// `{"bind":{"from":"/a","to":"/b"}}`
    Bind {
        /// What is shown.
        from: &'a str,
        /// Where it is shown.
        to: &'a str,
    },
    /// `{"mount":{"service":"logs","at":"/x"}}`
    Mount {
        /// The service's name.
        service: &'a str,
        /// Where it is shown.
        at: &'a str,
    },
    /// `{"budget":{"ttl_s":N,"ops":N}}`: the default for workers spawned later.
    Budget(Budget),
}

/// Limits of a worker; `None` leaves the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Seconds the worker may live; > 0.
    #[serde(default, deserialize_with = "present")]
    pub ttl_s: Option<u64>,
    /// Operations the worker may make; > 0.
    #[serde(default, deserialize_with = "present")]
    pub ops: Option<u64>,
}

/// What a GPU worker asks of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuLease<'a> {
    /// The GPU, as `/gpu` lists it.
    pub gpu_id: &'a str,
    /// Memory in MiB; > 0.
    pub mem_mb: u32,
    /// Streams; > 0.
    pub streams: u32,
    /// Seconds; > 0.
    pub ttl_s: u64,
    /// 0 unless stated.
    #[serde(default)]
    pub priority: u32,
}

/// Why a line is no request. All of them are `invalid-payload` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// Not the JSON of any form above.
    Syntax,
    /// A number that has to be positive is 0, a name is empty, a path breaks the rules of
    /// [`Path`] or has a `*`, or a string needs JSON escapes, which no name or path does.
    Value,
    /// The rendered line does not fit.
    NoSpace,
}

impl<'a> QueenRequest<'a> {
    /// Reads one line; a trailing newline is allowed. `ticks` not stated is [`DEFAULT_TICKS`].
    pub fn parse(line: &'a str) -> Result<QueenRequest<'a>, ControlError> {
        let (wire, _) =
            serde_json_core::from_str::<Wire<'a>>(line.trim()).map_err(|_| ControlError::Syntax)?;
        let request = match wire {
            Wire {
                spawn: Some("heartbeat"),
                ticks,
                budget,
                lease: None,
                kill: None,
                bind: None,
                mount: None,
            } => {
                let ticks = ticks.unwrap_or(DEFAULT_TICKS);
                QueenRequest::SpawnHeartbeat {
                    ticks,
                    budget: budget.unwrap_or_default(),
                }
            }
            Wire {
                spawn: Some("gpu"),
                lease: Some(lease),
                budget,
                ticks: None,
                kill: None,
                bind: None,
                mount: None,
            } => QueenRequest::SpawnGpu {
                lease,
                budget: budget.unwrap_or_default(),
            },
            Wire {
                kill: Some(id),
                spawn: None,
                ticks: None,
                lease: None,
                budget: None,
                bind: None,
                mount: None,
            } => QueenRequest::Kill { id },
            Wire {
                bind: Some(bind),
                spawn: None,
                ticks: None,
                lease: None,
                budget: None,
                kill: None,
                mount: None,
            } => QueenRequest::Bind {
                from: bind.from,
                to: bind.to,
            },
            Wire {
                mount: Some(mount),
                spawn: None,
                ticks: None,
                lease: None,
                budget: None,
                kill: None,
                bind: None,
            } => QueenRequest::Mount {
                service: mount.service,
                at: mount.at,
            },
            Wire {
                budget: Some(budget),
                spawn: None,
                ticks: None,
                lease: None,
                kill: None,
                bind: None,
                mount: None,
            } => QueenRequest::Budget(budget),
            _ => return Err(ControlError::Syntax),
        };
        request.check()
    }

    /// Writes the line, without a newline, into `out`.
    pub fn render<'o>(&self, out: &'o mut [u8]) -> Result<&'o str, ControlError> {
        let mut line = Line::new(out);
        match self.check()? {
            QueenRequest::SpawnHeartbeat { ticks, budget } => {
                line.put(format_args!(r#"{{"spawn":"heartbeat","ticks":{ticks}"#))?;
                if budget != Budget::default() {
                    line.put(format_args!(r#","budget":{budget}"#))?;
                }
                line.push("}")?;
            }
            QueenRequest::SpawnGpu { lease, budget } => {
                let GpuLease {
                    gpu_id,
                    mem_mb,
                    streams,
                    ttl_s,
                    priority,
                } = lease;
                line.put(format_args!(
                    r#"{{"spawn":"gpu","lease":{{"gpu_id":"{gpu_id}","mem_mb":{mem_mb},"streams":{streams},"ttl_s":{ttl_s}"#
                ))?;
                if priority != 0 {
                    line.put(format_args!(r#","priority":{priority}"#))?;
                }
                line.push("}")?;
                if budget != Budget::default() {
                    line.put(format_args!(r#","budget":{budget}"#))?;
                }
                line.push("}")?;
            }
            QueenRequest::Kill { id } => line.put(format_args!(r#"{{"kill":"{id}"}}"#))?,
            QueenRequest::Bind { from, to } => {
                line.put(format_args!(r#"{{"bind":{{"from":"{from}","to":"{to}"}}}}"#))?;
            }
            QueenRequest::Mount { service, at } => {
                line.put(format_args!(
                    r#"{{"mount":{{"service":"{service}","at":"{at}"}}}}"#
                ))?;
            }
            QueenRequest::Budget(budget) => line.put(format_args!(r#"{{"budget":{budget}}}"#))?,
        }
        Ok(line.finish())
    }

    fn check(self) -> Result<Self, ControlError> {
        let name = |text: &str| !text.is_empty() && plain(text);
        let path = |text: &str| plain(text) && !text.contains('*') && Path::parse(text).is_ok();
        let good = match &self {
            QueenRequest::SpawnHeartbeat { ticks, budget } => *ticks > 0 && budget.is_positive(),
            QueenRequest::SpawnGpu { lease, budget } => {
                name(lease.gpu_id)
                    && lease.mem_mb > 0
                    && lease.streams > 0
                    && lease.ttl_s > 0
                    && budget.is_positive()
            }
            QueenRequest::Kill { id } => name(id),
            QueenRequest::Bind { from, to } => path(from) && path(to),
            QueenRequest::Mount { service, at } => name(service) && path(at),
            QueenRequest::Budget(budget) => budget.is_positive(),
        };
        if good { Ok(self) } else { Err(ControlError::Value) }
    }
}

impl Budget {
    fn is_positive(&self) -> bool {
        self.ttl_s != Some(0) && self.ops != Some(0)
    }
}

/// The JSON object, with what is stated.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ttl_s, self.ops) {
            (None, None) => f.write_str("{}"),
            (Some(ttl_s), None) => write!(f, r#"{{"ttl_s":{ttl_s}}}"#),
            (None, Some(ops)) => write!(f, r#"{{"ops":{ops}}}"#),
            (Some(ttl_s), Some(ops)) => write!(f, r#"{{"ttl_s":{ttl_s},"ops":{ops}}}"#),
        }
    }
}

/// Every field of every form; which may stand together is decided above.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    spawn: Option<&'a str>,
    #[serde(default, deserialize_with = "present")]
    ticks: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    lease: Option<GpuLease<'a>>,
    #[serde(default, deserialize_with = "present")]
    budget: Option<Budget>,
    #[serde(borrow, default, deserialize_with = "present")]
    kill: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "present")]
    bind: Option<BindWire<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    mount: Option<MountWire<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BindWire<'a> {
    from: &'a str,
    to: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MountWire<'a> {
    service: &'a str,
    at: &'a str,
}

impl From<NoSpace> for ControlError {
    fn from(_: NoSpace) -> ControlError {
        ControlError::NoSpace
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::Syntax => {
                "not a control request; write one JSON object with the fields of its form"
            }
            ControlError::Value => {
                "a name, path or number is out of range; give a name, a plain absolute path, a number above 0"
            }
            ControlError::NoSpace => "the request does not fit its buffer; shorten it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONTROL_BYTES;
    use proptest::prelude::*;
    use std::string::String;

    fn lease(gpu_id: &str) -> GpuLease<'_> {
        GpuLease {
            gpu_id,
            mem_mb: 1024,
            streams: 1,
            ttl_s: 60,
            priority: 1,
        }
    }

    #[test]
    fn the_forms_of_wire_1_12() {
        use QueenRequest::{Bind, Kill, Mount, SpawnGpu, SpawnHeartbeat};
        let both = Budget {
            ttl_s: Some(30),
            ops: Some(5),
        };
        let gpu =
            r#"{"spawn":"gpu","lease":{"gpu_id":"GPU-0","mem_mb":1024,"streams":1,"ttl_s":60,"priority":1}}"#;
        assert_eq!(gpu.len(), 92, "WIRE 9.2 counts the bytes of this very line");
        for (line, request) in [
            (
                r#"{"spawn":"heartbeat","ticks":10}"#,
                SpawnHeartbeat {
                    ticks: 10,
                    budget: Budget::default(),
                },
            ),
            (
                r#"{"spawn":"heartbeat","ticks":2,"budget":{"ttl_s":30,"ops":5}}"#,
                SpawnHeartbeat {
                    ticks: 2,
                    budget: both,
                },
            ),
            (
                gpu,
                SpawnGpu {
                    lease: lease("GPU-0"),
                    budget: Budget::default(),
                },
            ),
            (
                r#"{"spawn":"gpu","lease":{"gpu_id":"G","mem_mb":1024,"streams":1,"ttl_s":60},"budget":{"ops":5}}"#,
                SpawnGpu {
                    lease: GpuLease {
                        priority: 0,
                        ..lease("G")
                    },
                    budget: Budget {
                        ttl_s: None,
                        ops: Some(5),
                    },
                },
            ),
            (r#"{"kill":"worker-1"}"#, Kill { id: "worker-1" }),
            (
                r#"{"bind":{"from":"/a","to":"/b"}}"#,
                Bind { from: "/a", to: "/b" },
            ),
            (
                r#"{"mount":{"service":"logs","at":"/x"}}"#,
                Mount {
                    service: "logs",
                    at: "/x",
                },
            ),
            (r#"{"budget":{"ttl_s":30,"ops":5}}"#, QueenRequest::Budget(both)),
        ] {
            assert_eq!(QueenRequest::parse(line), Ok(request), "{line}");
            assert_eq!(request.render(&mut [0; CONTROL_BYTES]), Ok(line));
        }
        let spaced = " {\"ticks\" : 3, \"spawn\" : \"heartbeat\" }\n";
        assert_eq!(
            QueenRequest::parse(spaced),
            Ok(SpawnHeartbeat {
                ticks: 3,
                budget: Default::default()
            })
        );
        let bare = SpawnHeartbeat {
            ticks: DEFAULT_TICKS,
            budget: Default::default(),
        };
        assert_eq!(QueenRequest::parse(r#"{"spawn":"heartbeat"}"#), Ok(bare));
    }

    #[test]
    fn everything_else_is_refused() {
        for line in [
            "",
            "spawn heartbeat",
            "{}",
            "[]",
            r#"{"spawn":"lora"}"#,
            r#"{"spawn":"gpu"}"#,
            r#"{"spawn":"gpu","ticks":1,"lease":{"gpu_id":"G","mem_mb":1,"streams":1,"ttl_s":1}}"#,
            r#"{"spawn":"gpu","lease":{"gpu_id":"G","mem_mb":1,"streams":1}}"#,
            r#"{"spawn":"gpu","lease":{"gpu_id":"G","mem_mb":1,"streams":1,"ttl_s":1,"x":1}}"#,
            r#"{"spawn":"heartbeat","ticks":1,"kill":"worker-1"}"#,
            r#"{"spawn":"heartbeat","ticks":1,"ticks":2}"#,
            r#"{"spawn":"heartbeat","ticks":null}"#,
            r#"{"spawn":"heartbeat","ticks":"1"}"#,
            r#"{"spawn":"heartbeat","ticks":1e3}"#,
            r#"{"spawn":"heartbeat","ticks":18446744073709551616}"#,
            r#"{"spawn":"heartbeat","worker_id":"w"}"#,
            r#"{"kill":"worker-1"}x"#,
            r#"{"kill":"worker-1","budget":{}}"#,
            r#"{"bind":{"from":"/a"}}"#,
            r#"{"budget":{"ttl":1}}"#,
        ] {
            assert_eq!(QueenRequest::parse(line), Err(ControlError::Syntax), "{line}");
        }
        for line in [
            r#"{"spawn":"heartbeat","ticks":0}"#,
            r#"{"spawn":"heartbeat","ticks":1,"budget":{"ttl_s":0}}"#,
            r#"{"spawn":"gpu","lease":{"gpu_id":"","mem_mb":1,"streams":1,"ttl_s":1}}"#,
            r#"{"spawn":"gpu","lease":{"gpu_id":"G","mem_mb":0,"streams":1,"ttl_s":1}}"#,
            r#"{"spawn":"gpu","lease":{"gpu_id":"G","mem_mb":1,"streams":0,"ttl_s":1}}"#,
            r#"{"kill":""}"#,
            r#"{"kill":"a\"b"}"#,
            r#"{"bind":{"from":"/proc/../boot","to":"/tmp"}}"#,
            r#"{"bind":{"from":"/a/*","to":"/b"}}"#,
            r#"{"bind":{"from":"","to":"/b"}}"#,
            r#"{"bind":{"from":"/1/2/3/4/5/6/7/8/9","to":"/b"}}"#,
            r#"{"mount":{"service":"","at":"/b"}}"#,
            r#"{"mount":{"service":"logs","at":"b"}}"#,
            r#"{"budget":{"ops":0}}"#,
        ] {
            assert_eq!(QueenRequest::parse(line), Err(ControlError::Value), "{line}");
        }
        assert_eq!(
            QueenRequest::Kill { id: "a\\" }.render(&mut [0; 64]),
            Err(ControlError::Value)
        );
        assert_eq!(
            QueenRequest::Kill { id: "a" }.render(&mut [0; 4]),
            Err(ControlError::NoSpace)
        );
    }

    proptest! {
        #[test]
        fn rendered_requests_are_read_back(
            id in "[ -~&&[^\"\\\\]]{1,40}", path in "/[a-z.]{1,8}x/[a-z]{1,8}",
            ticks in 1u64.., ttl_s in proptest::option::of(1u64..), ops in proptest::option::of(1u64..),
            mem_mb in 1u32.., priority: u32,
        ) {
            let budget = Budget { ttl_s, ops };
            let lease = GpuLease { gpu_id: &id, mem_mb, streams: 1, ttl_s: ticks, priority };
            for request in [
                QueenRequest::SpawnHeartbeat { ticks, budget },
                QueenRequest::SpawnGpu { lease, budget },
                QueenRequest::Kill { id: &id },
                QueenRequest::Bind { from: &path, to: "/" },
                QueenRequest::Mount { service: &id, at: &path },
                QueenRequest::Budget(budget),
            ] {
                let line = request.render(&mut [0; CONTROL_BYTES]).map(String::from).unwrap();
                prop_assert_eq!(QueenRequest::parse(&line), Ok(request));
            }
        }

        #[test]
        fn arbitrary_lines_never_panic(line in "\\PC{0,80}", json in "[{}\\[\\]\":,a-e0-9\\\\ ]{0,60}") {
            for line in [&line, &json] {
                let _ = QueenRequest::parse(line);
            }
        }
    }
}
