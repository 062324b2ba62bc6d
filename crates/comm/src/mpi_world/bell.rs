//! A bell that one process rings and the reactors of others hear: an event counter of the kernel that all of them have open.
//!
//! Invariant: the counter's value means nothing; every ring is a new event for each reactor that watches it, and the one who
//! hears it looks at shared memory for the news. A pipe would do as well but for one thing: the kernel takes a write to it for
//! the writer's last deed before it sleeps, and has the reader run in its place, on the same core.
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

use super::pause::{register, sleep};

/// How long the ranks of a node may take to fetch the bells; they are there already.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// A bell.
pub(super) struct Bell {
    counter: File,
    heard: RefCell<Option<AsyncFd<OwnedFd>>>,
}

impl Bell {
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

    /// Wakes all who listen.
    pub(super) fn ring(&self) {
        // A counter that is full, after 2^64 rings, is not heard of again: the ranks look now and then all the same.
        let _ = (&self.counter).write(&1u64.to_ne_bytes());
    }

    /// Has the task of `context` woken when it rings; tells whether it will be.
    pub(super) fn hear(&self, context: &mut Context<'_>) -> bool {
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

/// The bells of a node: one for its first rank, one for the others.
pub(super) struct Bells {
    pub(super) arrival: Bell,
    pub(super) release: Bell,
}

/// Where the other ranks of the node fetch the bells.
pub(super) struct Counter {
    bells: Bells,
    listener: UnixListener,
}

impl Counter {
    /// Makes the bells.
    pub(super) fn open() -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(std::process::id())?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { bells: Bells { arrival: Bell::new()?, release: Bell::new()? }, listener })
    }

    /// Gives the bells to so many processes.
    pub(super) fn serve(self, processes: u32) -> io::Result<Bells> {
        let deadline = Deadline::new();
        let bells = [&self.bells.arrival, &self.bells.release].map(|bell| bell.counter.as_raw_fd());
        for _ in 0..processes {
            let stream = loop {
                match self.listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => deadline.wait()?,
                    Err(error) => return Err(error),
                }
            };
            send(&stream, bells)?;
        }
        Ok(self.bells)
    }
}

impl Bells {
    /// Fetches the bells that a process of this node has made.
    pub(super) fn fetch(process: u32) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(&address(process)?)?;
        stream.set_read_timeout(Some(FETCH_LIMIT))?;
        let [arrival, release] = receive(&stream)?.map(|counter| Bell::of(counter.into()));
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

/// In the abstract name space: nothing is left on a disk.
fn address(process: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("dlio-rs-bells-{process}"))
}

/// Room for the header and two descriptors, aligned as the kernel's header is.
#[repr(C, align(8))]
struct Control([u8; 64]);

const PASSED: usize = 2 * size_of::<RawFd>();

/// A message of one byte with the control data beside it.
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
            return Err(io::Error::other("the message holds no bells"));
        }
        let descriptors = libc::CMSG_DATA(header).cast::<[RawFd; 2]>().read_unaligned();
        Ok(descriptors.map(|descriptor| OwnedFd::from_raw_fd(descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn woken(bell: &Bell) -> impl Future<Output = ()> {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            assert!(bell.hear(context));
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    #[tokio::test]
    async fn every_ring_is_heard_by_all_who_have_fetched_the_bell() {
        let counter = Counter::open().unwrap();
        let fetch = || Bells::fetch(std::process::id()).unwrap();
        let fetching = std::thread::spawn(move || [fetch(), fetch()]);
        let first = counter.serve(2).unwrap();
        let others = fetching.join().unwrap();
        for _ in 0..1000 {
            let all = async { tokio::join!(woken(&others[0].release), woken(&others[1].release)) };
            let ring = async { first.release.ring() };
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(all, ring) }).await.expect("a ring");
            let ring = async { others[1].arrival.ring() };
            let heard = woken(&first.arrival);
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(heard, ring) }).await.expect("a ring");
        }
    }

    #[test]
    fn bells_that_nobody_has_made_cannot_be_fetched() {
        assert!(Bells::fetch(u32::MAX).is_err());
    }
}
