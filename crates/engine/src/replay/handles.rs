//! The files that a replay keeps open, as the recorded program did; all workers share them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlio_plan::replay::{Access, ReplayKind};
use dlio_storage::{Attempts, Error, ErrorKind, Object, Storage, Updatable, Update};
use tokio::sync::OnceCell;

/// Files that are open at a time, at most: what the trace keeps open beyond that is opened again when it is read.
const LIMIT: usize = 768;

/// An open object.
pub(super) enum Handle {
    ToRead(Box<dyn Object>),
    ToUpdate(Box<dyn Updatable>),
}

impl Handle {
    async fn open(storage: &Arc<dyn Storage>, key: &str, access: Access) -> Result<(Self, Attempts), Error> {
        Ok(match access {
            Access::Read => {
                let object = storage.open(key).await?;
                let opened = object.opened().clone();
                (Self::ToRead(object), opened)
            }
            Access::Update { create } => {
                let object = storage.update(key, Update { create }).await?;
                let opened = object.opened().clone();
                (Self::ToUpdate(object), opened)
            }
        })
    }

    pub(super) fn object(&self) -> &dyn Object {
        match self {
            Self::ToRead(object) => &**object,
            Self::ToUpdate(object) => &**object,
        }
    }

    /// The object, if it was opened to be written.
    pub(super) fn updatable(&self, uri: impl FnOnce() -> String) -> Result<&dyn Updatable, Error> {
        match self {
            Self::ToUpdate(object) => Ok(&**object),
            Self::ToRead(_) => Err(Error {
                kind: ErrorKind::Invalid,
                doing: "writing",
                object: uri(),
                range: None,
                endpoint: None,
                message: "it was opened for reading before".to_owned(),
                attempts: Attempts::new(),
            }),
        }
    }
}

#[derive(Default)]
struct Slot {
    /// `None`: it is closed, because too many were open or nobody has used it.
    open: Option<Arc<OnceCell<Arc<Handle>>>>,
    /// Uses that are over, and those after which it is closed.
    uses: u32,
    last: Option<u32>,
}

/// Files by their number, from the first use to the last.
#[derive(Default)]
struct Slots {
    slots: HashMap<u64, Slot>,
    /// Those that are open, or being opened.
    open: BTreeSet<u64>,
}

/// Open files by their number.
#[derive(Default)]
pub(super) struct Handles {
    slots: Mutex<Slots>,
}

impl Handles {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, number: u64) -> Arc<OnceCell<Arc<Handle>>> {
        let Slots { slots, open } = &mut *self.slots();
        if open.len() >= LIMIT && !open.contains(&number) {
            // Numbers grow: the smallest has been open for the longest time.
            let oldest = open.pop_first().and_then(|oldest| slots.get_mut(&oldest));
            if let Some(oldest) = oldest {
                oldest.open = None;
            }
        }
        open.insert(number);
        Arc::clone(slots.entry(number).or_default().open.get_or_insert_default())
    }

    /// The open file of this number, opened if it is not; also the attempts of opening it. Whoever asks while it is being opened waits.
    pub(super) async fn get(
        &self,
        number: u64,
        storage: &Arc<dyn Storage>,
        (key, access): (&str, Access),
    ) -> Result<(Arc<Handle>, Attempts), Error> {
        let cell = self.cell(number);
        let mut attempts = Attempts::new();
        let open = async {
            let (handle, opened) = Handle::open(storage, key, access).await?;
            attempts = opened;
            Ok::<_, Error>(Arc::new(handle))
        };
        let handle = Arc::clone(cell.get_or_try_init(|| open).await?);
        Ok((handle, attempts))
    }

    /// Counts an opening, read or write that is done.
    pub(super) fn used(&self, number: u64, closes: Option<u32>) {
        self.settle(number, 1, closes);
    }

    /// Closes a file as soon as so many uses are over: some may be late.
    pub(super) fn close(&self, number: u64, uses: Option<u32>) {
        self.settle(number, 0, uses.or(Some(0)));
    }

    /// Counts an operation that is left out.
    pub(super) fn pass(&self, number: Option<u64>, (kind, closes): (ReplayKind, Option<u32>)) {
        match (number, kind) {
            (Some(number), ReplayKind::Close) => self.close(number, closes),
            (Some(number), _) => self.used(number, closes),
            (None, _) => {}
        }
    }

    fn settle(&self, number: u64, uses: u32, last: Option<u32>) {
        let mut all = self.slots();
        let slot = all.slots.entry(number).or_default();
        slot.uses += uses;
        slot.last = slot.last.or(last);
        if slot.last.is_some_and(|last| slot.uses >= last) {
            all.open.remove(&number);
            let closed = all.slots.remove(&number);
            // Closing takes a while on some storage.
            drop(all);
            drop(closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlio_storage::memory::Memory;

    #[tokio::test(start_paused = true)]
    async fn files_that_were_closed_for_others_and_uses_that_were_left_out_count() {
        let memory = Memory::new(Arc::new(crate::VirtualClock::new()));
        memory.put("a", vec![7; 10]);
        let storage: Arc<dyn Storage> = Arc::new(memory);
        let handles = Handles::default();
        let open = async |number| handles.get(number, &storage, ("a", Access::Read)).await.unwrap().1.len();
        for number in 0..=LIMIT as u64 {
            assert_eq!(open(number).await, 1, "{number}");
            handles.used(number, None);
        }
        assert_eq!(handles.slots().open.len(), LIMIT);
        assert_eq!(handles.slots().slots.len(), LIMIT + 1);
        // The first was closed for the last: its next use opens it again and is its second one, the last is left out.
        assert_eq!((open(0).await, open(5).await), (1, 0));
        handles.used(0, None);
        handles.pass(Some(0), (ReplayKind::Read, Some(3)));
        assert!(!handles.slots().slots.contains_key(&0));
        // Nobody opened this one: what was to open and to close it was left out.
        handles.pass(Some(9000), (ReplayKind::Open, None));
        handles.pass(Some(9000), (ReplayKind::Close, Some(1)));
        assert!(!handles.slots().slots.contains_key(&9000));
    }
}
