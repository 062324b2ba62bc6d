//! The files that a replay keeps open, as the recorded program did; all workers share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dlio_plan::replay::Access;
use dlio_storage::{Attempts, Error, ErrorKind, Object, Storage, Updatable, Update};
use tokio::sync::OnceCell;

/// Files that are open at a time, at most: what the trace keeps open beyond that is opened again when it is read.
const LIMIT: usize = 768;

/// An object as it was opened.
enum Opened<'a> {
    ToRead(Box<dyn Object + 'a>),
    ToUpdate(Box<dyn Updatable + 'a>),
}

/// An open object with the storage and the key that it borrows.
pub(super) struct Handle {
    // Declared first: it is dropped before what it borrows.
    object: Opened<'static>,
    _key: Arc<str>,
    _storage: Arc<dyn Storage>,
}

impl Handle {
    async fn open(storage: &Arc<dyn Storage>, key: &str, access: Access) -> Result<(Self, Attempts), Error> {
        let (storage, key): (Arc<dyn Storage>, Arc<str>) = (Arc::clone(storage), key.into());
        let (object, opened) = match access {
            Access::Read => {
                let object = storage.open(&key).await?;
                let opened = object.opened().clone();
                (Opened::ToRead(object), opened)
            }
            Access::Update { create } => {
                let object = storage.update(&key, Update { create }).await?;
                let opened = object.opened().clone();
                (Opened::ToUpdate(object), opened)
            }
        };
        #[expect(
            unsafe_code,
            reason = "an open object borrows its storage and key, which must live as long as it does"
        )]
        // SAFETY: the object borrows from what the two Arcs own. Neither moves when its Arc does, neither is mutated, both live
        // in the same struct and are dropped after the object, and the object is lent out for no longer than the struct lives.
        let object = unsafe { std::mem::transmute::<Opened<'_>, Opened<'static>>(object) };
        Ok((Self { object, _key: key, _storage: storage }, opened))
    }

    pub(super) fn object(&self) -> &dyn Object {
        match &self.object {
            Opened::ToRead(object) => &**object,
            Opened::ToUpdate(object) => &**object,
        }
    }

    /// The object, if it was opened to be written.
    pub(super) fn updatable(&self, uri: impl FnOnce() -> String) -> Result<&dyn Updatable, Error> {
        match &self.object {
            Opened::ToUpdate(object) => Ok(&**object),
            Opened::ToRead(_) => Err(Error {
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
    open: Arc<OnceCell<Arc<Handle>>>,
    /// Uses that are over, and those after which it is closed.
    uses: u32,
    last: Option<u32>,
}

/// Open files by their number.
#[derive(Default)]
pub(super) struct Handles {
    slots: Mutex<HashMap<u64, Slot>>,
}

impl Handles {
    fn slot(&self, number: u64) -> Arc<OnceCell<Arc<Handle>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= LIMIT && !slots.contains_key(&number) {
            // Numbers grow: the smallest has been open for the longest time.
            let oldest = slots.keys().min().copied();
            oldest.and_then(|oldest| slots.remove(&oldest));
        }
        Arc::clone(&slots.entry(number).or_default().open)
    }

    /// The open file of this number, opened if it is not; also the attempts of opening it. Whoever asks while it is being opened waits.
    pub(super) async fn get(
        &self,
        number: u64,
        storage: &Arc<dyn Storage>,
        (key, access): (&str, Access),
    ) -> Result<(Arc<Handle>, Attempts), Error> {
        let slot = self.slot(number);
        let mut attempts = Attempts::new();
        let open = async {
            let (handle, opened) = Handle::open(storage, key, access).await?;
            attempts = opened;
            Ok::<_, Error>(Arc::new(handle))
        };
        let handle = Arc::clone(slot.get_or_try_init(|| open).await?);
        Ok((handle, attempts))
    }

    /// Counts an opening or a read that is done.
    pub(super) fn used(&self, number: u64, closes: Option<u32>) {
        self.settle(number, 1, closes);
    }

    /// Closes a file as soon as so many uses are over: some may be late.
    pub(super) fn close(&self, number: u64, uses: Option<u32>) {
        self.settle(number, 0, uses.or(Some(0)));
    }

    fn settle(&self, number: u64, uses: u32, last: Option<u32>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(&number) else { return };
        slot.uses += uses;
        slot.last = slot.last.or(last);
        if slot.last.is_some_and(|last| slot.uses >= last) {
            slots.remove(&number);
        }
    }
}
