//! The stack that an actor holds: an engine, its driver task, and connecting.
//!
//! Answers for: driving the engine when frames arrive, when a socket was touched and when a timer is due, with
//! a bounded amount of work at a time; waking nobody and nothing otherwise.
//! Never: allocates after [`Stack::new`].

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::net::Ipv4Addr;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};

use runtime::Context;
use runtime::time::Instant;

use crate::config::StackConfig;
use crate::device::FrameDevice;
use crate::engine::{Engine, Wait};
use crate::error::{ConfigError, ConnectError};
use crate::stats::StackStats;
use crate::stream::TcpStream;

/// A TCP/IP stack. Clones are the same stack.
#[derive(Clone)]
pub struct Stack {
    pub(crate) shared: Rc<Shared>,
    driver: Rc<Cell<Option<Driver>>>,
}

/// The task that moves frames, until somebody runs it.
type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// What a stack, its driver, its listeners and its streams have in common.
pub(crate) struct Shared {
    pub(crate) engine: RefCell<Engine>,
    context: Context,
    /// Whether a socket was touched since the driver last looked.
    touched: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Stack {
    /// A stack on `device`. Allocates everything it will ever use.
    pub fn new<D: FrameDevice + 'static>(
        context: &Context,
        mut device: D,
        config: StackConfig,
    ) -> Result<Self, ConfigError> {
        let engine = Engine::new(&config, &mut device, context.now())?;
        let shared = Rc::new(Shared {
            engine: RefCell::new(engine),
            context: context.clone(),
            touched: Cell::new(false),
            waker: Cell::new(None),
        });
        let driver: Driver = Box::pin(drive(shared.clone(), device));
        Ok(Self {
            shared,
            driver: Rc::new(Cell::new(Some(driver))),
        })
    }

    /// Moves the stack's frames, for ever. Spawn it once; a second call has nothing to do and returns.
    pub async fn run(&self) {
        if let Some(driver) = self.driver.take() {
            driver.await;
        }
    }

    /// Connects to a listener elsewhere. Waits for its answer at most [`Timers::connect`](crate::Timers::connect).
    pub async fn connect(&self, ip: Ipv4Addr, port: u16) -> Result<TcpStream, ConnectError> {
        let slot = self
            .shared
            .engine
            .borrow_mut()
            .connect(ip, port, self.shared.now())?;
        let stream = TcpStream::new(self.shared.clone(), slot, core::net::SocketAddrV4::new(ip, port));
        self.shared.touch();
        stream.connected().await?;
        Ok(stream)
    }

    /// What it has done and holds.
    pub fn stats(&self) -> StackStats {
        self.shared.engine.borrow().stats()
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Instant {
        self.context.now()
    }

    /// Tells the driver that a socket may have something to send.
    pub(crate) fn touch(&self) {
        self.touched.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

async fn drive<D: FrameDevice>(shared: Rc<Shared>, mut device: D) {
    loop {
        let frames = shared.engine.borrow_mut().ingress(&mut device, shared.now());
        let more = shared.engine.borrow().has_more(frames);
        if frames > 0 {
            // Those whom the frames have woken go first: their answers then leave with the acknowledgements.
            shared.context.yield_now().await;
        }
        shared.touched.set(false);
        let wait = shared.engine.borrow_mut().egress(&mut device, shared.now());
        if more || wait.deadline.is_some_and(|deadline| deadline <= shared.now()) {
            shared.context.yield_now().await;
        } else {
            wait_for_work(&shared, &mut device, wait).await;
        }
    }
}

/// Waits until a socket was touched, the device is ready, or the deadline has come.
async fn wait_for_work<D: FrameDevice>(shared: &Shared, device: &mut D, wait: Wait) {
    let deadline = [wait.deadline, device.deadline()].into_iter().flatten().min();
    let mut sleep = pin!(async {
        match deadline {
            Some(at) => shared.context.sleep_until(at).await,
            None => core::future::pending().await,
        }
    });
    let mut ready = pin!(device.ready(wait.room));
    poll_fn(|cx| {
        if shared.touched.get() || ready.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        shared.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}
