//! Wake events between processes: an event counter of the kernel (`eventfd`) that all of them have open wakes their
//! reactors.
//!
//! Invariant: the counter's value has no meaning. Every write is a new event for each reactor that watches the
//! counter, and the woken rank reads shared memory to learn what happened. A pipe would do as well, except that the
//! kernel treats a write to a pipe as the writer's last action before it sleeps, and runs the reader on the same
//! core.
#![expect(unsafe_code, reason = "eventfd(2) and the passing of descriptors have no safe wrapper in this crate")]

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;

use super::backoff::{register, sleep};

/// Longest time for the ranks of a node to fetch the wake events, which exist already.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// A wake event.
pub(super) struct WakeEvent {
    counter: File,
    heard: RefCell<Option<AsyncFd<OwnedFd>>>,
}

impl WakeEvent {
    fn new() -> io::Result<Self> {
        // SAFETY: the call touches no memory; the descriptor is owned from here on.
        let counter = unsafe {
            let descriptor = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(descriptor)
        };
        Ok(Self::of(counter))
    }

    fn of(counter: File) -> Self {
        Self { counter, heard: RefCell::default() }
    }

    /// Wakes all listeners.
    pub(super) fn notify(&self) {
        // A full counter, after 2^64 events, has no effect: the ranks poll now and then anyway.
        let _ = (&self.counter).write(&1u64.to_ne_bytes());
    }

    /// Wakes the task of `context` at the next event; returns whether it will.
    pub(super) fn wake_on_event(&self, context: &mut Context<'_>) -> bool {
        let listened = self.listen(context);
        if listened.is_err() {
            *self.heard.borrow_mut() = None;
        }
        listened.is_ok()
    }

    fn listen(&self, context: &mut Context<'_>) -> io::Result<()> {
        let mut heard = self.heard.borrow_mut();
        let heard = match &mut *heard {
            Some(heard) => heard,
            none => none.insert(register(self.counter.try_clone()?.into())?),
        };
        while let Poll::Ready(guard) = heard.poll_read_ready(context) {
            guard?.clear_ready();
        }
        Ok(())
    }
}

/// The wake events of a node: one for its first rank, one for the others.
pub(super) struct WakeEvents {
    pub(super) arrival: WakeEvent,
    pub(super) release: WakeEvent,
}

/// Socket from which the other ranks of the node fetch the wake events.
pub(super) struct Counter {
    wake_events: WakeEvents,
    listener: UnixListener,
}

impl Counter {
    /// Creates the wake events.
    pub(super) fn open() -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { wake_events: WakeEvents { arrival: WakeEvent::new()?, release: WakeEvent::new()? }, listener })
    }

    /// Sends the wake events to `count` processes.
    pub(super) fn serve(self, processes: u32) -> io::Result<WakeEvents> {
        let deadline = Deadline::new();
        let wake_events =
            [&self.wake_events.arrival, &self.wake_events.release].map(|wake_event| wake_event.counter.as_raw_fd());
        for _ in 0..processes {
            let stream = loop {
                match self.listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => deadline.wait()?,
                    Err(error) => return Err(error),
                }
            };
            send(&stream, wake_events)?;
        }
        Ok(self.wake_events)
    }
}

impl WakeEvents {
    /// Fetches the wake events that another process of this node created.
    pub(super) fn fetch(process: u32) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(&address(process)?)?;
        stream.set_read_timeout(Some(FETCH_LIMIT))?;
        let [arrival, release] = receive(&stream)?.map(|counter| WakeEvent::of(counter.into()));
        Ok(Self { arrival, release })
    }
}

struct Deadline(Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "measures the set-up of a world, not the run")]
    fn new() -> Self {
        Self(Instant::now() + FETCH_LIMIT)
    }

    #[expect(clippy::disallowed_methods, reason = "measures the set-up of a world, not the run")]
    fn wait(&self) -> io::Result<()> {
        if Instant::now() >= self.0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_micros(100));
        Ok(())
    }
}

/// An address in the abstract namespace, which leaves nothing on disk.
fn address(process: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("dlio-rs-wake_events-{process}"))
}

/// Space for the header and two descriptors, aligned like the kernel's header.
#[repr(C, align(8))]
struct Control([u8; 64]);

const PASSED: usize = 2 * size_of::<RawFd>();

/// A message of one byte with ancillary data.
fn message(byte: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: zero is a valid message without any parts.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    message
}

fn send(stream: &UnixStream, descriptors: [RawFd; 2]) -> io::Result<()> {
    let mut byte = [0u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; 64]);
    let mut message = message(&mut part, &mut control);
    let passed = u32::try_from(PASSED).unwrap_or(0);
    // SAFETY: the control data have room for the header and the descriptors; all parts of the message live until it is sent.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(passed) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(passed) as usize;
        libc::CMSG_DATA(header).cast::<[RawFd; 2]>().write_unaligned(descriptors);
        libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn receive(stream: &UnixStream) -> io::Result<[OwnedFd; 2]> {
    let mut byte = [0u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; 64]);
    let mut message = message(&mut part, &mut control);
    let wanted = u32::try_from(PASSED).unwrap_or(0);
    // SAFETY: all parts of the message are writable; a header is read only where the kernel has put one of this length, and its
    // descriptors are owned from here on.
    unsafe {
        let received = libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let is_ours = !header.is_null()
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len == libc::CMSG_LEN(wanted) as usize;
        if received != 1 || !is_ours {
            return Err(io::Error::other("the message contains no wake events"));
        }
        let descriptors = libc::CMSG_DATA(header).cast::<[RawFd; 2]>().read_unaligned();
        Ok(descriptors.map(|descriptor| OwnedFd::from_raw_fd(descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn woken(wake_event: &WakeEvent) -> impl Future<Output = ()> {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            assert!(wake_event.wake_on_event(context));
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    #[tokio::test]
    async fn every_ring_is_heard_by_all_who_have_fetched_the_bell() {
        let counter = Counter::open().unwrap();
        let fetch = || WakeEvents::fetch(std::process::id()).unwrap();
        let fetching = std::thread::spawn(move || [fetch(), fetch()]);
        let first = counter.serve(2).unwrap();
        let others = fetching.join().unwrap();
        for _ in 0..1000 {
            let all = async { tokio::join!(woken(&others[0].release), woken(&others[1].release)) };
            let ring = async { first.release.notify() };
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(all, ring) }).await.expect("a ring");
            let ring = async { others[1].arrival.notify() };
            let heard = woken(&first.arrival);
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(heard, ring) }).await.expect("a ring");
        }
    }

    #[test]
    fn bells_that_nobody_has_made_cannot_be_fetched() {
        assert!(WakeEvents::fetch(u32::MAX).is_err());
    }
}
