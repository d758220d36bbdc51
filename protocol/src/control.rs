//! `/queen/ctl`: one strict JSON object a line (WIRE 4.4, CONTROL 3).
//!
//! Answers for reading a line into a request and for writing the same line. Unknown fields, duplicate
//! fields and mixed forms are refused. It never decides whether a request may be granted.

use core::fmt;

/// A request to the queen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueenRequest<'a> {
    /// `{"spawn":"heartbeat","ticks":N[,"budget":{..}]}`
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Seconds the worker may live.
    pub ttl_s: Option<u64>,
    /// Operations the worker may make.
    pub ops: Option<u64>,
}

/// What a GPU worker asks of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub priority: u32,
}

/// Why a line is no request. All of them are `invalid-payload` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// Not the JSON of any form above.
    Syntax,
    /// A number that has to be positive is 0, or a name is empty.
    Value,
    /// The rendered line does not fit.
    NoSpace,
}

impl<'a> QueenRequest<'a> {
    /// Reads one line; a trailing newline is allowed.
    pub fn parse(_line: &'a str) -> Result<QueenRequest<'a>, ControlError> {
        unimplemented!()
    }

    /// Writes the line, without a newline, into `out`.
    pub fn render<'o>(&self, _out: &'o mut [u8]) -> Result<&'o str, ControlError> {
        unimplemented!()
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::Syntax => {
                "not a control request; write one JSON object with the fields of its form"
            }
            ControlError::Value => "a value is empty or zero; give a name or a positive number",
            ControlError::NoSpace => "the request does not fit its buffer; shorten it",
        })
    }
}
