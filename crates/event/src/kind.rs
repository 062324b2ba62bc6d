//! Operation kinds and outcomes: two closed sets, with the names that they have in a trace.

macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// Returns the name that is used in traces and reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// Returns the value with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named_enum! {
    /// Kind of an event: a storage operation or a span of the training loop.
    OpKind {
        /// S3 GET of a whole object.
        Get => "get",
        /// S3 GET of a byte range.
        GetRange => "get_range",
        /// S3 PUT of a whole object.
        Put => "put",
        /// S3 CreateMultipartUpload.
        MultipartCreate => "multipart_create",
        /// S3 UploadPart.
        MultipartPart => "multipart_part",
        /// S3 CompleteMultipartUpload.
        MultipartComplete => "multipart_complete",
        /// S3 AbortMultipartUpload.
        MultipartAbort => "multipart_abort",
        /// S3 HeadObject or HeadBucket.
        Head => "head",
        /// An S3 list request, or the reading of a directory.
        List => "list",
        /// The removal of an object or a file.
        Delete => "delete",
        /// S3 CreateBucket, or `mkdir(2)`.
        CreateNamespace => "create_namespace",
        /// `open(2)` and the `fstat(2)` that follows it.
        Open => "open",
        /// `read(2)` or `pread(2)` of one range, regardless of the number of system calls.
        Read => "read",
        /// All writes of one file.
        Write => "write",
        /// `fsync(2)`.
        Fsync => "fsync",
        /// `rename(2)` from a temporary name to the final name.
        Rename => "rename",
        /// `close(2)`.
        Close => "close",
        /// `stat(2)`.
        Stat => "stat",
        /// CPU work on bytes that were read; storage time is not included.
        Decode => "decode",
        /// Emulated per-sample preprocessing (`preprocess_time`).
        Preprocess => "preprocess",
        /// Span: the training loop waits for its next batch (`load` in the reference).
        Fetch => "fetch",
        /// Span: emulated accelerator computation.
        Compute => "compute",
        /// Span: the rank waits for all other ranks at the end of a step.
        Barrier => "barrier",
        /// Span: one block of steps.
        Block => "block",
        /// Span: one epoch, which is its training part and its evaluation.
        Epoch => "epoch",
        /// Span: the evaluation part of an epoch.
        Eval => "eval",
        /// Span: a lane reads one batch, from its first operation to its hand-over to the training loop.
        Batch => "batch",
        /// Span: a lane reads one sample, operations and checks included. Every format has one such row per sample.
        Sample => "sample",
        /// Span: one file is generated, encoding included.
        GenerateFile => "generate_file",
        /// Span: a checkpoint is saved.
        CheckpointSave => "checkpoint_save",
        /// Span: a checkpoint is loaded.
        CheckpointLoad => "checkpoint_load",
    }
}

impl OpKind {
    /// Returns whether the event is a storage operation, that is, neither a span nor CPU work.
    #[must_use]
    #[inline]
    pub fn is_storage(self) -> bool {
        self <= OpKind::Stat
    }

    /// Returns whether the bytes of the event were read from storage.
    #[must_use]
    #[inline]
    pub fn is_read(self) -> bool {
        matches!(self, OpKind::Get | OpKind::GetRange | OpKind::Read)
    }

    /// Returns whether the bytes of the event were written to storage.
    #[must_use]
    #[inline]
    pub fn is_write(self) -> bool {
        matches!(self, OpKind::Put | OpKind::MultipartPart | OpKind::Write)
    }
}

named_enum! {
    /// Result of an operation.
    Outcome {
        /// The operation succeeded.
        Ok => "ok",
        /// No response arrived within the time limit.
        Timeout => "timeout",
        /// The connection could not be established, or it broke.
        Connect => "connect",
        /// HTTP status 4xx other than 404 and 429.
        ClientError => "client_error",
        /// HTTP status 404, or `ENOENT`.
        NotFound => "not_found",
        /// HTTP status 429 or 503: the server asks for fewer requests.
        Throttled => "throttled",
        /// HTTP status 5xx other than 503.
        ServerError => "server_error",
        /// Fewer bytes arrived than were announced.
        ShortRead => "short_read",
        /// The content violates the file format.
        Corrupt => "corrupt",
        /// The operating system returned an error.
        Io => "io",
        /// The operation was abandoned because the run ended.
        Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in OpKind::ALL {
            assert_eq!(OpKind::from_name(kind.name()), Some(*kind));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_name(outcome.name()), Some(*outcome));
        }
    }

    #[test]
    fn spans_are_not_storage() {
        assert!(OpKind::Get.is_storage() && OpKind::Stat.is_storage());
        assert!(!OpKind::Decode.is_storage() && !OpKind::Compute.is_storage());
    }
}
