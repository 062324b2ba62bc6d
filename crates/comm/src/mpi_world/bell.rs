//! A bell that one process rings and the reactors of others hear: a pipe that all of them have open.
//!
//! Invariant: what is in the pipe means nothing, only that something was put there: every ring is a new event for each
//! reactor that watches the pipe. So the one who hears it looks at shared memory for the news.
#![expect(unsafe_code, reason = "pipe2(2) has no safe wrapper that does not block")]

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::task::{Context, Poll};

use tokio::io::unix::AsyncFd;

use super::pause::register;

/// One process's ends of the pipe.
pub(super) struct Bell {
    /// Where it rings.
    ring: Option<File>,
    /// Where it is emptied before it rings, so that it never is full, or where it is heard.
    hear: Option<File>,
    heard: RefCell<Option<AsyncFd<OwnedFd>>>,
}

/// A descriptor's number and what tells its file from all others: the low bits of its inode number.
type Descriptor = (u32, u32);

impl Bell {
    /// A new bell, with both ends.
    pub(super) fn new() -> io::Result<Self> {
        let mut ends = [-1; 2];
        // SAFETY: the array has room for both descriptors, which are owned from here on.
        let (hear, ring) = unsafe {
            if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
                return Err(io::Error::last_os_error());
            }
            (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
        };
        Ok(Self { ring: Some(ring), hear: Some(hear), heard: RefCell::default() })
    }

    /// How other processes find its ends: where it rings, and where it is heard.
    pub(super) fn descriptors(&self) -> [Descriptor; 2] {
        [&self.ring, &self.hear]
            .map(|end| end.as_ref().map_or((0, 0), |file| (file.as_raw_fd().unsigned_abs(), id(file))))
    }

    /// The end of another process's bell where it rings.
    pub(super) fn open_to_ring(process: u32, descriptor: Descriptor) -> io::Result<Self> {
        let ring = open(process, descriptor, true)?;
        Ok(Self { ring: Some(ring), hear: None, heard: RefCell::default() })
    }

    /// The end of another process's bell where it is heard.
    pub(super) fn open_to_hear(process: u32, descriptor: Descriptor) -> io::Result<Self> {
        let hear = open(process, descriptor, false)?;
        Ok(Self { ring: None, hear: Some(hear), heard: RefCell::default() })
    }

    /// Wakes all who listen.
    pub(super) fn ring(&self) {
        // An empty pipe always takes a byte; a full one is an event that nobody has looked at yet.
        if let Some(mut hear) = self.hear.as_ref() {
            let _ = hear.read(&mut [0; 64]);
        }
        if let Some(mut ring) = self.ring.as_ref() {
            let _ = ring.write(&[1]);
        }
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
        let heard = match (&mut *heard, &self.hear) {
            (Some(heard), _) => heard,
            (none, Some(hear)) => none.insert(register(hear.try_clone()?.into())?),
            (None, None) => return Err(io::Error::other("this end cannot be listened to")),
        };
        while let Poll::Ready(guard) = heard.poll_read_ready(context) {
            guard?.clear_ready();
        }
        Ok(())
    }
}

fn open(process: u32, (number, id_there): Descriptor, rings: bool) -> io::Result<File> {
    let path = format!("/proc/{process}/fd/{number}");
    let file = File::options().read(!rings).write(rings).custom_flags(libc::O_NONBLOCK).open(path)?;
    // Where ranks see different processes under one number, the path leads elsewhere.
    if id(&file) == id_there { Ok(file) } else { Err(io::Error::other("another file than the one that was offered")) }
}

fn id(file: &File) -> u32 {
    file.metadata().map_or(0, |metadata| (metadata.ino() & u64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

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
    async fn every_ring_is_heard_at_every_end_also_when_nobody_has_emptied_the_pipe() {
        let bell = Bell::new().unwrap();
        let [ring, hear] = bell.descriptors();
        let process = std::process::id();
        let others = [(); 2].map(|()| Bell::open_to_hear(process, hear).unwrap());
        let far = Bell::open_to_ring(process, ring).unwrap();
        for round in 0..200_000 / 64 {
            let all = async { tokio::join!(woken(&others[0]), woken(&others[1])) };
            let ring = async { if round % 2 == 0 { bell.ring() } else { far.ring() } };
            tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(all, ring) }).await.expect("a ring");
        }
    }

    #[test]
    fn another_file_under_the_number_is_not_taken() {
        let bell = Bell::new().unwrap();
        let [(number, id), _] = bell.descriptors();
        assert!(Bell::open_to_ring(std::process::id(), (number, id.wrapping_add(1))).is_err());
    }
}
