//! Forwarding for decorators: storage and objects that pass most of their methods on to another one.
//!
//! The traits have no default bodies, so each decorator names every method that it does not change. One that is neither
//! named nor written does not compile.

/// Forwards the named methods of [`Storage`](crate::Storage) to another storage: `forward_storage!(self => self.inner; stat list)`.
///
/// Use it inside an `impl Storage` block. The expression must be a place whose methods are those of `Storage`, such as a field of
/// type `Arc<dyn Storage>`.
#[macro_export]
macro_rules! forward_storage {
    ($self:ident => $inner:expr; $($method:ident)+) => {
        $($crate::forward_storage!(@$method $self $inner);)+
    };
    (@open $self:ident $inner:expr) => {
        fn open<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, Box<dyn $crate::Object>> {
            $inner.open(key)
        }
    };
    (@update $self:ident $inner:expr) => {
        fn update<'a>(&'a $self, key: &'a str, how: $crate::Update) -> $crate::Future<'a, Box<dyn $crate::Updatable>> {
            $inner.update(key, how)
        }
    };
    (@write $self:ident $inner:expr) => {
        fn write<'a>(
            &'a $self,
            key: &'a str,
            source: &'a mut dyn $crate::ChunkSource,
        ) -> $crate::Future<'a, $crate::Receipt> {
            $inner.write(key, source)
        }
    };
    (@stage $self:ident $inner:expr) => {
        fn stage<'a>(
            &'a $self,
            key: &'a str,
            source: &'a mut dyn $crate::ChunkSource,
        ) -> $crate::Future<'a, $crate::Staged> {
            $inner.stage(key, source)
        }
    };
    (@publish $self:ident $inner:expr) => {
        fn publish<'a>(&'a $self, staged: &'a $crate::Staged) -> $crate::Future<'a, $crate::Receipt> {
            $inner.publish(staged)
        }
    };
    (@discard $self:ident $inner:expr) => {
        fn discard<'a>(&'a $self, staged: &'a $crate::Staged) -> $crate::Future<'a, $crate::Receipt> {
            $inner.discard(staged)
        }
    };
    (@stat $self:ident $inner:expr) => {
        fn stat<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, ($crate::Metadata, $crate::Receipt)> {
            $inner.stat(key)
        }
    };
    (@look_up $self:ident $inner:expr) => {
        fn look_up<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, (Option<$crate::Metadata>, $crate::Receipt)> {
            $inner.look_up(key)
        }
    };
    (@list $self:ident $inner:expr) => {
        fn list<'a>(
            &'a $self,
            prefix: &'a str,
            page: &'a mut dyn FnMut(&[$crate::ListEntry]),
        ) -> $crate::Future<'a, $crate::Receipt> {
            $inner.list(prefix, page)
        }
    };
    (@delete $self:ident $inner:expr) => {
        fn delete<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, $crate::Receipt> {
            $inner.delete(key)
        }
    };
    (@create_root $self:ident $inner:expr) => {
        fn create_root(&$self) -> $crate::Future<'_, $crate::Receipt> {
            $inner.create_root()
        }
    };
    (@create_folder $self:ident $inner:expr) => {
        fn create_folder<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, $crate::Receipt> {
            $inner.create_folder(key)
        }
    };
    (@remove_folder $self:ident $inner:expr) => {
        fn remove_folder<'a>(&'a $self, key: &'a str) -> $crate::Future<'a, (bool, $crate::Receipt)> {
            $inner.remove_folder(key)
        }
    };
    (@blocks $self:ident $inner:expr) => {
        fn blocks(&$self) -> bool {
            $inner.blocks()
        }
    };
    (@uri $self:ident $inner:expr) => {
        fn uri(&$self, key: &str) -> String {
            $inner.uri(key)
        }
    };
    (@root_uri $self:ident $inner:expr) => {
        fn root_uri(&$self) -> String {
            $inner.root_uri()
        }
    };
}

/// Forwards the named methods of [`Object`](crate::Object) to another object, as [`forward_storage!`](crate::forward_storage) does
/// for storage.
#[macro_export]
macro_rules! forward_object {
    ($self:ident => $inner:expr; $($method:ident)+) => {
        $($crate::forward_object!(@$method $self $inner);)+
    };
    (@size $self:ident $inner:expr) => {
        fn size(&$self) -> Option<u64> {
            $inner.size()
        }
    };
    (@opened $self:ident $inner:expr) => {
        fn opened(&$self) -> &$crate::Attempts {
            $inner.opened()
        }
    };
    (@read $self:ident $inner:expr) => {
        fn read<'a>(
            &'a $self,
            range: $crate::ByteRange,
            sink: &'a mut dyn $crate::ChunkSink,
        ) -> $crate::Future<'a, $crate::Receipt> {
            $inner.read(range, sink)
        }
    };
    (@read_first $self:ident $inner:expr) => {
        fn read_first<'a>(
            &'a $self,
            limit: u64,
            sink: &'a mut dyn $crate::ChunkSink,
        ) -> $crate::Future<'a, $crate::Receipt> {
            $inner.read_first(limit, sink)
        }
    };
    (@read_part $self:ident $inner:expr) => {
        fn read_part<'a>(
            &'a $self,
            range: $crate::ByteRange,
            version: &'a $crate::Version,
            sink: &'a mut dyn $crate::ChunkSink,
        ) -> $crate::Future<'a, $crate::Receipt> {
            $inner.read_part(range, version, sink)
        }
    };
}
