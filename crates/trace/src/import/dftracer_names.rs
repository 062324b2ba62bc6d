//! Names in dftracer's traces: system calls, spans of DLIO, and requests in the export of this program.

use dlio_event::OpKind;

/// Recognises system calls, with or without a 64-bit suffix, and spans by DLIO's names.
pub(super) fn kind_of(name: &str, category: &str) -> Option<OpKind> {
    if matches!(category, "POSIX" | "STDIO" | "LIBC_IO") {
        return system_call(name);
    }
    if category == "storage"
        && let Some(kind) = name.rsplit_once('.').and_then(|(_, call)| request(call))
    {
        return Some(kind);
    }
    let span = match (category, name) {
        ("compute" | "ai_framework", "compute") => OpKind::Compute,
        (_, "fetch.iter") => OpKind::Fetch,
        (_, "epoch.block") => OpKind::Epoch,
        ("pipeline", "train") => OpKind::Block,
        ("pipeline", "evaluate" | "test") => OpKind::Eval,
        ("data", "preprocess") => OpKind::Preprocess,
        ("data", "decode") => OpKind::Decode,
        ("comm", "barrier") => OpKind::Barrier,
        ("data_loader", "batch") => OpKind::Batch,
        ("checkpoint", "capture") => OpKind::CheckpointSave,
        ("checkpoint", "restart") => OpKind::CheckpointLoad,
        ("reader", name) if name.ends_with(".read_index") => OpKind::Sample,
        ("data_generator", name) if name.ends_with(".generate") => OpKind::GenerateFile,
        (_, name) if name.ends_with(".get_data") => OpKind::Get,
        (_, name) if name.ends_with(".put_data") => OpKind::Put,
        _ => return None,
    };
    Some(span)
}

/// Recognises the requests in the export of this program other than `get_data` and `put_data`.
fn request(call: &str) -> Option<OpKind> {
    let kind = match call {
        "head" => OpKind::Head,
        "multipart_create" => OpKind::MultipartCreate,
        "multipart_part" => OpKind::MultipartPart,
        "multipart_complete" => OpKind::MultipartComplete,
        "multipart_abort" => OpKind::MultipartAbort,
        _ => return None,
    };
    Some(kind)
}

pub(super) fn system_call(name: &str) -> Option<OpKind> {
    let plain = name.trim_start_matches('_').trim_end_matches("64").trim_end_matches("at");
    let kind = match plain {
        "open" | "fopen" | "creat" => OpKind::Open,
        "read" | "pread" | "readv" | "preadv" | "fread" | "pread2" => OpKind::Read,
        "write" | "pwrite" | "writev" | "pwritev" | "fwrite" => OpKind::Write,
        "close" | "fclose" => OpKind::Close,
        "fsync" | "fdatasync" => OpKind::Fsync,
        "xst" | "fxst" | "lxst" | "st" | "fst" | "lst" | "stat" | "fstat" | "access" => OpKind::Stat,
        "opendir" | "readdir" | "scandir" => OpKind::List,
        "mkdir" => OpKind::CreateNamespace,
        "unlink" | "remove" | "rmdir" => OpKind::Delete,
        "rename" => OpKind::Rename,
        _ => return None,
    };
    Some(kind)
}
