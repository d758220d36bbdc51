//! Supervision: when a domain that panicked is started again, and what everybody may know about it.
//!
//! Answers for: the policy (one-for-one: a fault concerns its own domain only; so many restarts within a window, then
//! escalation: the domain stays down and the node is degraded), and the status page that shows it.
//! Never: starts, stops or signals anything. A host reports faults here and does as it is told.

mod policy;
mod status;

pub use policy::{Decision, RestartPolicy, Supervisor};
pub use status::{
    ChildState, ChildStatus, MAX_CHILDREN, REASON_BYTES, RawStatus, Reason, StatusPage, StatusView,
    SupervisionView,
};
