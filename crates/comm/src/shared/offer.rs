//! How the ranks of a node come to one memory: the first one offers a file that it has open, the others open it through `/proc`.

use std::fs::File;

use super::memory::Memory;

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
