//! How the ranks of a node come to one memory: the first one offers a file that it has open, the others open it through `/proc`.

use std::fs::File;

use super::memory::Memory;
use crate::communicator::Communicator;
use crate::error::Error;

/// Parts of the memory begin at multiples of the largest page size in use.
pub(super) const ALIGN: usize = 64 << 10;

/// What the first rank of a node offers to the others.
pub(crate) struct Offer {
    pub(crate) memory: Memory,
    identity: (u64, u64),
}

impl Offer {
    /// Makes memory of which the first bytes are reserved.
    pub(crate) fn make(bytes: usize, reserved: usize) -> Result<Self, String> {
        let make = || {
            let memory = Memory::create(bytes)?;
            memory.reserve(0, reserved)?;
            let identity = Memory::identity(memory.file())?;
            Ok(Self { memory, identity })
        };
        make().map_err(|error: std::io::Error| format!("making shared memory: {error}"))
    }

    /// As text: where the file is, and which one it is; or why there is none.
    pub(crate) fn encode(offer: &Result<Self, String>) -> String {
        match offer {
            Ok(Self { memory, identity: (device, number) }) => {
                format!("/proc/{}/fd/{} {device} {number}", std::process::id(), memory.descriptor())
            }
            Err(reason) => format!("! {reason}"),
        }
    }
}

/// Maps what another process offers.
pub(crate) fn accept(offer: &str, bytes: usize) -> Result<Memory, String> {
    if let Some(reason) = offer.strip_prefix("! ") {
        return Err(format!("the first rank of the node: {reason}"));
    }
    let mut words = offer.split(' ');
    let path = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    let identity = (number(), number());
    let open = || {
        let file = File::options().read(true).write(true).open(path)?;
        // Where ranks see different processes under one number, the path leads elsewhere.
        if Memory::identity(&file)? != identity {
            return Err(std::io::Error::other("it is another file than the one that was offered"));
        }
        Memory::map(file, bytes)
    };
    open().map_err(|error| format!("opening the node's shared memory {path}: {error}"))
}

/// Memory that the ranks of a node share, of which the first bytes are reserved; which ranks have none, and why.
pub(super) async fn memory_of_node(
    comm: &dyn Communicator,
    bytes: usize,
    reserved: usize,
) -> Result<(Option<Memory>, Vec<(u32, String)>), Error> {
    let place = comm.place();
    let offers = place.local_rank == 0 && place.local_size > 1;
    let mine = if offers { Offer::make(bytes, reserved) } else { Err(String::new()) };
    let offers = comm.all_gather(format!("{} {}", place.node, Offer::encode(&mine)).as_bytes()).await?;
    let prefix = format!("{} ", place.node);
    let offered = offers.iter().find_map(|wire| std::str::from_utf8(wire).ok()?.strip_prefix(&prefix));
    let memory = match mine {
        _ if place.local_size == 1 => None,
        Ok(offer) => Some(Ok(offer.memory)),
        Err(reason) if place.local_rank == 0 => Some(Err(reason)),
        Err(_) => Some(accept(offered.unwrap_or_default(), bytes)),
    };
    let (memory, reason) = match memory {
        None => (None, String::new()),
        Some(Ok(memory)) => (Some(memory), String::new()),
        Some(Err(reason)) => (None, reason),
    };
    // The one who offers keeps the file open until all have come here.
    let reasons = comm.all_gather(reason.as_bytes()).await?;
    let refused = (0..).zip(&reasons).filter(|(_, reason)| !reason.is_empty());
    Ok((memory, refused.map(|(rank, reason)| (rank, String::from_utf8_lossy(reason).into_owned())).collect()))
}
