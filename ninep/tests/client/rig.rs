//! A client and a server on one thread, and requests that are started, awaited or dropped.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures::executor::{LocalPool, LocalSpawner};
use futures::future::poll_fn;
use futures::task::LocalSpawnExt;
use ninep::pipe::{self, Pipe};
use ninep::{Client, ClientConfig, ClientError, Ended, Fid, OpenFlags, Server, ServerConfig};

use crate::common::TestTree;

pub const RDONLY: OpenFlags = OpenFlags::RDONLY;
pub const RDWR: OpenFlags = OpenFlags::RDWR;

pub fn client_config() -> ClientConfig {
    ClientConfig {
        msize: 1024,
        fids: 8,
        tags: 4,
        waiters: 8,
    }
}

/// A client and a server on one thread.
pub struct Rig {
    pub pool: LocalPool,
    pub tree: Rc<TestTree>,
    pub client: Client<Pipe>,
    pub ended: Rc<RefCell<(Option<Ended>, Option<ClientError>)>>,
}

impl Rig {
    pub fn new(config: ClientConfig) -> Rig {
        let pool = LocalPool::new();
        let tree = TestTree::new();
        let (left, right) = pipe::pair(4, 8192);
        let client = Client::new(left, config);
        let ended: Rc<RefCell<(Option<Ended>, Option<ClientError>)>> = Rc::default();
        let server = Server::new(
            tree.clone(),
            ServerConfig {
                msize: 8192,
                fids: 32,
                tags: 8,
                handlers: 4,
            },
        );
        let (serving, running, driver) = (ended.clone(), ended.clone(), client.clone());
        spawn(&pool.spawner(), async move {
            let why = server.serve(&right).await;
            serving.borrow_mut().0 = Some(why);
        });
        spawn(&pool.spawner(), async move {
            let why = driver.run().await;
            running.borrow_mut().1 = Some(why);
        });
        Rig {
            pool,
            tree,
            client,
            ended,
        }
    }

    /// With a session begun.
    pub fn attached(config: ClientConfig) -> (Rig, Fid) {
        let mut rig = Rig::new(config);
        let client = rig.client.clone();
        let root = rig.pool.run_until(async {
            client.version().await?;
            client.attach("queen", "").await
        });
        (rig, root.unwrap())
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn(&self.pool.spawner(), task);
    }

    pub fn run<R>(&mut self, task: impl Future<Output = R>) -> R {
        let result = self.pool.run_until(task);
        self.pool.run_until_stalled();
        result
    }

    pub fn settle(&mut self) {
        self.pool.run_until_stalled();
    }
}

pub fn spawn(spawner: &LocalSpawner, task: impl Future<Output = ()> + 'static) {
    spawner.spawn_local(task).unwrap();
}

/// The result of a spawned request, when it is there.
pub type Slot<R> = Rc<RefCell<Option<R>>>;

pub fn start<R: 'static>(rig: &Rig, task: impl Future<Output = R> + 'static) -> Slot<R> {
    let slot: Slot<R> = Rc::default();
    let result = slot.clone();
    rig.spawn(async move {
        let value = task.await;
        *result.borrow_mut() = Some(value);
    });
    slot
}

/// Polls a future `polls` times, with a turn for everyone else between, and drops it.
pub async fn poll_and_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let mut output = None;
        poll_fn(|cx| {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                output = Some(ready);
            }
            Poll::Ready(())
        })
        .await;
        if output.is_some() {
            return output;
        }
        turn().await;
    }
    None
}

/// Lets every other task run once.
pub async fn turn() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
