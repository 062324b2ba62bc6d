//! Checks the locations in a workload.

use dlio_event::S3Uri;

use crate::fields::Fields;
use crate::location::{Location, local};
use crate::vocabulary::StorageType;
use crate::workload::Workload;

const DATA: &str = "dataset.data_folder";
const ROOT: &str = "storage.storage_root";
const CHECKPOINTS: &str = "checkpoint.checkpoint_folder";

/// Refuses unsupported locations, and locations that contradict each other.
pub(super) fn check(w: &Workload, f: &mut Fields<'_>) {
    let aistore = w.storage.storage_type == StorageType::Aistore;
    let data = if aistore { None } else { folder(DATA, &w.dataset.data_folder, f) };
    let root = place(ROOT, &w.storage.storage_root, f);
    if w.workflow.checkpoint && !aistore {
        folder(CHECKPOINTS, &w.checkpoint.checkpoint_folder, f);
    }
    let named = match root {
        Some(Location::S3(root)) => Some(root),
        Some(Location::Plain(root)) if w.storage.storage_type == StorageType::S3 => Some(S3Uri::from_path(root)),
        _ => None,
    };
    let bucket = |uri: S3Uri<'_>| Some(uri.bucket.to_owned()).filter(|name| !matches!(&**name, "" | "." | ".."));
    if let (Some(Location::S3(data)), Some(root)) = (data, named.and_then(bucket))
        && bucket(data).as_ref() != Some(&root)
    {
        let message = format!("names the bucket {root}, and {DATA} {data}: name one bucket, or leave {ROOT} out");
        f.refuse(ROOT, message);
    }
    let endpoints = w.storage.endpoint_file.as_deref();
    let paths = [
        ("output.folder", w.output.folder.as_deref()),
        ("dlio_rs.registry", w.dlio_rs.registry.as_deref()),
        ("storage.endpoint_file", endpoints),
        ("storage.storage_options.verify", w.storage.ca_bundle.as_deref()),
    ];
    for (key, text) in paths {
        if let Some(Err(why)) = text.map(local) {
            f.refuse(key, why);
        }
    }
}

fn place<'a>(key: &str, text: &'a str, f: &mut Fields<'_>) -> Option<Location<'a>> {
    Location::parse(text).map_err(|why| f.refuse(key, why)).ok()
}

/// Checks a folder for data or checkpoints. Every location is accepted except for `direct://`.
fn folder<'a>(key: &str, text: &'a str, f: &mut Fields<'_>) -> Option<Location<'a>> {
    let place = place(key, text, f);
    if let Some(Location::Direct(path)) = place {
        let message = format!(
            "direct:// is a word for {ROOT} only; for reads past the page cache write {path} and reader.odirect: true"
        );
        f.refuse(key, message);
    }
    place
}
