//! What the console tells of itself: HELP, BI, CAPS, MEM, NETSTATS, NETTEST.
//!
//! Answers for facts of this system, each read where it is kept. Never invents a value: what does not exist here is
//! refused as unsupported by the caller.

use core::time::Duration;

use protocol::line::{Line, NoSpace};
use protocol::role::CONSOLE_ACTOR;

use crate::house::House;

/// The text of HELP.
pub(crate) const HELP: [&str; 19] = [
    "Commands:",
    "  help  - Show this help",
    "  attach <role> [ticket]  - Begin a session; failed attempts detach",
    "  ls <path>  - List a directory",
    "  cat <path>  - Show a file",
    "  tail <path>  - Show the end of the log or of a worker's telemetry",
    "  log  - Show the end of /log/queen.log (queen)",
    "  echo <path> <text>  - Append a line to a file",
    "  spawn <json>  - Start a worker (queen)",
    "  kill <worker>  - End a worker (queen)",
    "  ping  - Respond with pong",
    "  bi    - Show how the node has started and fared",
    "  caps  - Show the links this domain holds",
    "  mem   - Show what this domain's memory is used for",
    "  netstats - Show the network stack's counters",
    "  nettest  - Measure a round trip to the namespace server",
    "  test  - Self-test (host-only; use cohsh)",
    "  cachelog - Show cache maintenance; there is none here, so it is empty",
    "  quit  - End the session",
];

/// What NETTEST found last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfTest {
    /// It was not asked for.
    #[default]
    Never,
    /// NineDoor answered after this time.
    Passed(Duration),
    /// NineDoor did not answer.
    Failed,
}

/// The line of BI.
pub(crate) fn boot<'b>(house: &impl House, buf: &'b mut [u8]) -> Result<&'b str, NoSpace> {
    let ctx = house.ctx();
    let mut line = Line::new(buf);
    line.push("[bi]")?;
    line.field("domains", ctx.domains().len())?;
    if let Some(page) = ctx.supervision() {
        let restarts: u64 = (0..page.len())
            .filter_map(|child| page.child(child))
            .map(|child| child.restarts)
            .sum();
        line.field("degraded", if page.degraded() { "yes" } else { "no" })?;
        line.field("restarts", restarts)?;
    }
    line.field("host_uptime_ms", ctx.now().as_millis())?;
    line.field("unix_ms", ctx.unix_ms())?;
    line.field("door", if house.door().is_open() { "open" } else { "closed" })?;
    Ok(line.finish())
}

/// The line of CAPS.
pub(crate) fn capabilities<'b>(house: &impl House, buf: &'b mut [u8]) -> Result<&'b str, NoSpace> {
    let ctx = house.ctx();
    let mut line = Line::new(buf);
    line.put(format_args!("[caps] domain={} links=", ctx.name()))?;
    for (index, name) in house.links().iter().enumerate() {
        if let Some(link) = ctx.link(name) {
            let comma = if index == 0 { "" } else { "," };
            line.put(format_args!(
                "{comma}{name}:{}:{}",
                link.peer(),
                link.frame_bytes()
            ))?;
        }
    }
    house.capabilities(&mut line)?;
    Ok(line.finish())
}

/// The line of MEM.
pub(crate) fn memory<'b>(house: &impl House, buf: &'b mut [u8]) -> Result<&'b str, NoSpace> {
    let mut line = Line::new(buf);
    line.push("[mem]")?;
    house.memory(&mut line)?;
    Ok(line.finish())
}

/// One line of NETSTATS that is the transport's; `None` after the last.
pub(crate) fn transport<'b>(
    house: &impl House,
    index: usize,
    buf: &'b mut [u8],
) -> Result<Option<&'b str>, NoSpace> {
    let mut line = Line::new(buf);
    line.push("netstats:")?;
    let is_one = house.transport(index, &mut line)?;
    Ok(is_one.then(|| line.finish()))
}

/// The line of NETSTATS with the domain's own counters.
pub(crate) fn counters<'b>(house: &impl House, buf: &'b mut [u8]) -> Result<&'b str, NoSpace> {
    let mut line = Line::new(buf);
    line.push("netstats:")?;
    for (name, value) in house
        .counters()
        .iter()
        .zip(house.ctx().counters().snapshot().custom)
    {
        line.field(name, value)?;
    }
    Ok(line.finish())
}

/// The last line of NETSTATS.
pub(crate) fn last_self_test<'b>(house: &impl House, buf: &'b mut [u8]) -> Result<&'b str, NoSpace> {
    let mut line = Line::new(buf);
    line.push("nettest: enabled=yes running=no")?;
    match house.self_test().get() {
        SelfTest::Never => line.field("last", "never")?,
        SelfTest::Passed(took) => line.field("last", format_args!("ok door_us={}", took.as_micros()))?,
        SelfTest::Failed => line.field("last", "failed")?,
    }
    Ok(line.finish())
}

/// Asks NineDoor for a session of the console's own and takes the time; that the transport works is shown by whoever
/// reads the answer.
pub(crate) async fn self_test(house: &impl House) -> SelfTest {
    let begun = house.ctx().now();
    let result = match house.door().attach(CONSOLE_ACTOR, "").await {
        Ok(pass) => {
            let took = house.ctx().now().since(begun);
            house.door().leave(pass).await;
            SelfTest::Passed(took)
        }
        Err(_) => SelfTest::Failed,
    };
    house.self_test().set(result);
    result
}
