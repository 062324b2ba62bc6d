//! The closed set of operation kinds and outcomes, with the names that they carry in a trace.

macro_rules! named_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the numbers.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The name in traces and reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value with this name.
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
    /// What an event is: a storage operation, or a span of the training loop.
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
        /// A listing request or a directory read.
        List => "list",
        /// Removal of an object or file.
        Delete => "delete",
        /// CreateBucket or mkdir.
        CreateNamespace => "create_namespace",
        /// `open(2)`, with the `fstat` that follows it.
        Open => "open",
        /// `read(2)`/`pread(2)` of a range, however many system calls it took.
        Read => "read",
        /// The writes of one file.
        Write => "write",
        /// `fsync(2)`.
        Fsync => "fsync",
        /// `rename(2)` from the temporary to the final name.
        Rename => "rename",
        /// `close(2)`.
        Close => "close",
        /// `stat(2)`.
        Stat => "stat",
        /// CPU work on bytes that were read, apart from storage time.
        Decode => "decode",
        /// Emulated per-sample preprocessing (`preprocess_time`).
        Preprocess => "preprocess",
        /// Span: the training loop waited for its next batch (the reference's `load`).
        Fetch => "fetch",
        /// Span: emulated accelerator computation.
        Compute => "compute",
        /// Span: waiting for all ranks at the end of a step.
        Barrier => "barrier",
        /// Span: one block of steps, from its start to its end.
        Block => "block",
        /// Span: one epoch (training and evaluation).
        Epoch => "epoch",
        /// Span: the evaluation part of an epoch.
        Eval => "eval",
        /// Span: one batch read by a lane, from its first operation to its hand-over.
        Batch => "batch",
        /// Span: one sample read by a lane, its operations and checks included; the one row per sample of every format.
        Sample => "sample",
        /// Span: generation of one file, encoding included.
        GenerateFile => "generate_file",
        /// Span: saving a checkpoint.
        CheckpointSave => "checkpoint_save",
        /// Span: loading a checkpoint.
        CheckpointLoad => "checkpoint_load",
    }
}

impl OpKind {
    /// Whether the event is an operation on storage (and not a span or CPU work).
    #[must_use]
    #[inline]
    pub fn is_storage(self) -> bool {
        self <= OpKind::Stat
    }

    /// Whether the bytes of the event were read from storage.
    #[must_use]
    #[inline]
    pub fn is_read(self) -> bool {
        matches!(self, OpKind::Get | OpKind::GetRange | OpKind::Read)
    }

    /// Whether the bytes of the event were written to storage.
    #[must_use]
    #[inline]
    pub fn is_write(self) -> bool {
        matches!(self, OpKind::Put | OpKind::MultipartPart | OpKind::Write)
    }
}

named_enum! {
    /// How an operation ended.
    Outcome {
        /// It did what it should.
        Ok => "ok",
        /// No answer within the time limit.
        Timeout => "timeout",
        /// The connection could not be made or broke.
        Connect => "connect",
        /// HTTP 4xx other than 404 and 429.
        ClientError => "client_error",
        /// HTTP 404, `ENOENT`.
        NotFound => "not_found",
        /// HTTP 429 or 503: the server asks for less.
        Throttled => "throttled",
        /// HTTP 5xx other than 503.
        ServerError => "server_error",
        /// Fewer bytes than promised.
        ShortRead => "short_read",
        /// The content is not what the format requires.
        Corrupt => "corrupt",
        /// An operating-system error.
        Io => "io",
        /// Given up because the run ended.
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
