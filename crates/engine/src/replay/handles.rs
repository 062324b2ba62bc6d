//! The files that a replay keeps open as the recorded program did, shared by all workers.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dlio_plan::replay::{Access, ReplayKind};
use dlio_storage::{Attempts, Error, ErrorKind, Object, Storage, Updatable, Update};
use tokio::sync::OnceCell;

/// Maximum number of open files; files beyond it are closed early and opened again for their next use.
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

    /// Returns the object if it was opened for writing.
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
    /// `None` if the file is closed, because too many files were open or because it was never used.
    open: Option<Arc<OnceCell<Arc<Handle>>>>,
    /// Number of completed uses, and number of uses after which the file is closed.
    uses: u32,
    last: Option<u32>,
}

/// Files by their number, from first to last use.
#[derive(Default)]
struct Slots {
    slots: HashMap<u64, Slot>,
    /// Numbers of the files that are open or being opened.
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
            // Numbers increase, so the file with the smallest number has been open for the longest time.
            let oldest = open.pop_first().and_then(|oldest| slots.get_mut(&oldest));
            if let Some(oldest) = oldest {
                oldest.open = None;
            }
        }
        open.insert(number);
        Arc::clone(slots.entry(number).or_default().open.get_or_insert_default())
    }

    /// Returns the open file of this number, and opens it if necessary; also returns the attempts of opening it. Concurrent callers wait for
    /// one opening.
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

    /// Counts a completed opening, read or write.
    pub(super) fn used(&self, number: u64, closes: Option<u32>) {
        self.settle(number, 1, closes);
    }

    /// Closes a file after this number of uses, because some uses may be late.
    pub(super) fn close(&self, number: u64, uses: Option<u32>) {
        self.settle(number, 0, uses.or(Some(0)));
    }

    /// Counts a skipped operation.
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
            // Closing may take long on some storage, so it happens outside of the lock.
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
        // File 0 was closed when the limit was reached; its next use opens it again as its second use, and the third is skipped.
        assert_eq!((open(0).await, open(5).await), (1, 0));
        handles.used(0, None);
        handles.pass(Some(0), (ReplayKind::Read, Some(3)));
        assert!(!handles.slots().slots.contains_key(&0));
        // File 9000 was never opened, because its opening and closing were skipped.
        handles.pass(Some(9000), (ReplayKind::Open, None));
        handles.pass(Some(9000), (ReplayKind::Close, Some(1)));
        assert!(!handles.slots().slots.contains_key(&9000));
    }
}
