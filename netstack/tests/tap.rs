//! A guest on a TAP device, reached by the kernel's own TCP, in a network namespace of its own.
//!
//! Skipped, with a line that says why, where there is no right to make such a namespace or device.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::{GUEST, LINK, echo, guest_stack, pattern, serve};
use netstack::tap::{self, Tap, TapError};
use runtime::hosted::{Handle, Hosted, HostedConfig};
use runtime::topology::{DomainSpec, LinkSpec, Topology};

/// Set for the copy of this program that runs in the namespace.
const INSIDE: &str = "NETSTACK_TAP_INSIDE";
const DEVICE: &str = "hive0";
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const PORT: u16 = 7;

#[test]
fn a_guest_on_a_tap_device_talks_to_the_kernel() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let program = std::env::current_exe().expect("the test program");
    let run = Command::new("unshare")
        .args(["--net", "--map-root-user"])
        .arg(program)
        .args([
            "--exact",
            "--nocapture",
            "a_guest_on_a_tap_device_talks_to_the_kernel",
        ])
        .env(INSIDE, "1")
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) => return println!("skipped: no `unshare` to make a network namespace with ({error})"),
    };
    let (told, failed) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{told}");
    if failed.contains("unshare failed") || failed.contains("unshare: ") {
        return println!(
            "skipped: no right to make a network namespace ({})",
            failed.trim()
        );
    }
    assert!(output.status.success(), "{failed}");
    assert!(
        told.contains("skipped: ") || told.contains("carried 1 MiB"),
        "nothing was tested:\n{told}"
    );
}

/// What happens in the namespace.
fn inside() {
    // Whether there is a right to the device is found out before anything starts.
    match Tap::open(DEVICE) {
        Ok(_) => {}
        Err(error @ (TapError::Open(_) | TapError::Attach(..))) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
    let handle = start();
    if !(ip(&["addr", "add", &format!("{KERNEL}/24"), "dev", DEVICE]) && ip(&["link", "set", DEVICE, "up"])) {
        return println!("skipped: `ip` cannot configure {DEVICE}");
    }
    let mut stream = dial();
    let data: Vec<u8> = (0..1 << 20).map(|i| pattern(1, i)).collect();
    let mut reader = stream.try_clone().expect("a descriptor");
    let read = std::thread::spawn(move || {
        let mut back = Vec::new();
        reader.read_to_end(&mut back).expect("the guest answers");
        back
    });
    stream.write_all(&data).expect("the guest reads");
    stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    assert!(read.join().expect("the reader ran") == data, "wrong data");
    println!("carried 1 MiB there and back");

    // The guest's death is a pulled plug: its successor answers, and what was open is reset.
    let mut old = dial();
    old.write_all(b"x").expect("the guest reads");
    old.read_exact(&mut [0]).expect("the guest answers");
    assert!(handle.inject_panic("guest", 0));
    std::thread::sleep(Duration::from_millis(100));
    let mut stream = dial();
    stream.write_all(b"new").expect("the guest reads");
    stream.read_exact(&mut [0; 3]).expect("the guest answers");
    old.write_all(b"y").expect("the kernel takes it");
    assert!(
        old.read_exact(&mut [0]).is_err(),
        "the new guest knows nothing of it"
    );
    handle.stop().expect("an orderly stop");
}

fn start() -> Handle {
    let net = DomainSpec::with_io("net", |context, io| {
        let tap = Tap::open(DEVICE).expect("it could be opened before");
        tap::spawn(context, io, tap, LINK).expect("room for two tasks");
    });
    let guest = DomainSpec::new("guest", |context| {
        serve(context, &guest_stack(context, 16), PORT, 4, echo);
    });
    let topology = Topology {
        domains: vec![net, guest],
        links: vec![LinkSpec::new(LINK, "net", "guest", 256, 2_048)],
        fault_injection: true,
    };
    Hosted::start(topology, HostedConfig::default()).expect("the hive starts")
}

/// Connects as soon as device and guest are up.
fn dial() -> TcpStream {
    let address = (GUEST, PORT).into();
    let stream = (0..50)
        .find_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok())
        .expect("the guest listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket option");
    stream
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip")
        .args(args)
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_bad_name_is_refused_before_anything_is_opened() {
    for name in ["", "sixteen-letters!", "a/b", "a\0b"] {
        assert!(matches!(Tap::open(name), Err(TapError::Name(_))), "{name:?}");
    }
}
