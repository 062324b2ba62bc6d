//! Sets up memory shared by the ranks of a node: the first rank offers an open file, which the others open through
//! `/proc`.

use std::fs::File;

use super::memory::Memory;
use crate::communicator::Communicator;
use crate::error::Error;

/// Alignment of the parts of the memory: the largest page size in use.
pub(super) const ALIGN: usize = 64 << 10;

/// Memory that the first rank of a node offers to the others.
pub(crate) struct MemoryOffer {
    pub(crate) memory: Memory,
    identity: (u64, u64),
}

impl MemoryOffer {
    /// Creates memory of `bytes` bytes, of which the first `reserved` are allocated.
    pub(crate) fn make(bytes: usize, reserved: usize) -> Result<Self, String> {
        let make = || {
            let memory = Memory::create(bytes)?;
            memory.reserve(0, reserved)?;
            let identity = Memory::identity(memory.file())?;
            Ok(Self { memory, identity })
        };
        make().map_err(|error: std::io::Error| format!("making shared memory: {error}"))
    }

    /// Encodes an offer as text: path and identity of the file, or the reason why there is none.
    pub(crate) fn encode(offer: &Result<Self, String>) -> String {
        match offer {
            Ok(Self { memory, identity: (device, number) }) => {
                format!("/proc/{}/fd/{} {device} {number}", std::process::id(), memory.descriptor())
            }
            Err(reason) => format!("! {reason}"),
        }
    }
}

/// Maps the memory that another process offers.
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
        // In another process namespace, the path leads to another file.
        if Memory::identity(&file)? != identity {
            return Err(std::io::Error::other("it is another file than the one that was offered"));
        }
        Memory::map(file, bytes)
    };
    open().map_err(|error| format!("opening the node's shared memory {path}: {error}"))
}

/// Creates memory shared by the ranks of each node, of which the first `reserved` bytes are allocated. Also returns
/// the ranks that have none, with the reasons.
pub(super) async fn memory_of_node(
    comm: &dyn Communicator,
    bytes: usize,
    reserved: usize,
) -> Result<(Option<Memory>, Vec<(u32, String)>), Error> {
    let place = comm.place();
    let offers = place.local_rank == 0 && place.local_size > 1;
    let mine = if offers { MemoryOffer::make(bytes, reserved) } else { Err(String::new()) };
    let offers = comm.all_gather(format!("{} {}", place.node, MemoryOffer::encode(&mine)).as_bytes()).await?;
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
    // The offering rank keeps its file open until all ranks have arrived here.
    let reasons = comm.all_gather(reason.as_bytes()).await?;
    let refused = (0..).zip(&reasons).filter(|(_, reason)| !reason.is_empty());
    Ok((memory, refused.map(|(rank, reason)| (rank, String::from_utf8_lossy(reason).into_owned())).collect()))
}
