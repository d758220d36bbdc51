//! Servers that lie: the client leaves them, and says why.

use futures::executor::LocalPool;
use ninep::client::ProtocolError;
use ninep::codec::{Malformed, Qids, Rmessage, Tag, Tmessage, parse_t};
use ninep::pipe::{self, Pipe};
use ninep::{Client, ClientError, Qid, Transport};

use crate::rig::{client_config, spawn};

/// A client against a server that answers what the test says.
fn against(script: impl Fn(u16, &[u8]) -> Vec<u8> + 'static) -> (LocalPool, Client<Pipe>) {
    let pool = LocalPool::new();
    let (left, right) = pipe::pair(4, 8192);
    let client = Client::new(left, client_config());
    let driver = client.clone();
    spawn(&pool.spawner(), async move {
        let _why = driver.run().await;
    });
    spawn(&pool.spawner(), async move {
        let mut buf = vec![0; 8192];
        while let Ok(len) = right.recv(&mut buf).await {
            let (tag, _) = parse_t(&buf[..len]).unwrap();
            if right.send(&script(tag.0, &buf[..len])).await.is_err() {
                break;
            }
        }
    });
    (pool, client)
}

fn answer(tag: u16, message: Rmessage<'_>) -> Vec<u8> {
    let mut frame = vec![0; 8192];
    let len = message.emit(Tag(tag), &mut frame).unwrap();
    frame.truncate(len);
    frame
}

#[test]
fn a_server_without_the_version_is_left() {
    for (msize, version, works) in [
        (1024, "9P2000.L", true),
        (256, "9P2000.L", true),
        (255, "9P2000.L", false),
        (1025, "9P2000.L", false),
        (1024, "unknown", false),
        (1024, "9P2000.u", false),
    ] {
        let (mut pool, client) = against(move |tag, _| answer(tag, Rmessage::Version { msize, version }));
        let expected = if works {
            Ok(msize)
        } else {
            Err(ClientError::Protocol(ProtocolError::Version))
        };
        assert_eq!(pool.run_until(client.version()), expected, "{msize} {version}");
        pool.run_until_stalled();
        assert_eq!(client.is_closed(), !works);
    }
}

#[test]
fn a_lying_server_is_left() {
    let qids = Qids::new(&[Qid::file(1); 3]).unwrap();
    let data = [0; 100];
    type Script = Box<dyn Fn(u16) -> Vec<u8>>;
    let lie = |script: Script, error| (script, ClientError::Protocol(error));
    let cases = [
        lie(
            Box::new(|tag| answer(tag + 1, Rmessage::Clunk)),
            ProtocolError::UnexpectedTag(1),
        ),
        lie(
            Box::new(|_| answer(4, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(4),
        ),
        lie(
            Box::new(|_| answer(999, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(999),
        ),
        lie(
            Box::new(|_| answer(0xffff, Rmessage::Flush)),
            ProtocolError::UnexpectedTag(0xffff),
        ),
        lie(
            Box::new(|tag| answer(tag, Rmessage::Clunk)),
            ProtocolError::UnexpectedKind(121),
        ),
        lie(
            Box::new(|_| b"\x05\0\0\0\x75".into()),
            ProtocolError::Malformed(Malformed::Short),
        ),
        lie(Box::new(|_| vec![]), ProtocolError::Malformed(Malformed::Short)),
        lie(
            Box::new(move |tag| answer(tag, Rmessage::Walk { qids })),
            ProtocolError::Excess,
        ),
        // Longer than the buffer: the transport ends it.
        (Box::new(|_| vec![0; 2000]), ClientError::Closed),
    ];
    for (script, error) in cases {
        let (mut pool, client) = against(move |tag, frame| match parse_t(frame).unwrap().1 {
            Tmessage::Attach { .. } => answer(tag, Rmessage::Attach { qid: Qid::dir(1) }),
            _ => script(tag),
        });
        let root = pool.run_until(client.attach("", "")).unwrap();
        let got = pool.run_until(client.walk(&root, &["x", "y"])).err();
        assert_eq!(got, Some(error));
        pool.run_until_stalled();
        assert!(client.is_closed() && client.transport().is_closed());
    }
    // More data than was asked for.
    let (mut pool, client) = against(move |tag, frame| match parse_t(frame).unwrap().1 {
        Tmessage::Attach { .. } => answer(tag, Rmessage::Attach { qid: Qid::file(1) }),
        Tmessage::Write { .. } => answer(tag, Rmessage::Write { count: 100 }),
        _ => answer(tag, Rmessage::Read { data: &data }),
    });
    let file = pool.run_until(client.attach("", "")).unwrap();
    assert_eq!(pool.run_until(client.read(&file, 0, &mut [0; 100])), Ok(100));
    assert_eq!(pool.run_until(client.write(&file, 0, &[0; 100])), Ok(100));
    let excess = ClientError::Protocol(ProtocolError::Excess);
    assert_eq!(pool.run_until(client.read(&file, 0, &mut [0; 99])), Err(excess));
    assert_eq!(
        pool.run_until(client.write(&file, 0, &[0; 99])),
        Err(excess),
        "the reason stays"
    );
}
