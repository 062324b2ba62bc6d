//! Checks whether the files of a run fit: needs of all ranks against free space and free inodes of file systems.
//!
//! Invariant: facts are gathered on every rank, and every rank makes the same judgement of all of them. Ranks of a node
//! share its local file systems; a network or parallel file system is one for all nodes. statvfs(3) does not see
//! quotas.

mod file_system;
mod needs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dlio_comm::Place;
use serde::{Deserialize, Serialize};

pub use file_system::{FileSystem, existing};
pub use needs::{Writes, blocks};
pub(crate) use needs::{of_replay, of_run};

use crate::collective::gather;
use crate::failure::{Code, Failure};
use crate::session::Session;
use crate::sizes::amount;

/// Files that a rank will write into a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Name for messages, such as `the dataset`.
    pub what: String,
    /// Key or option that names the folder.
    pub key: String,
    /// Path of the folder, which need not exist yet.
    pub folder: PathBuf,
    /// Bytes, rounded up to blocks of the file system.
    pub bytes: u64,
    /// Number of files and folders.
    pub inodes: u64,
    /// Whether the bytes are exact rather than estimated.
    pub is_exact: bool,
}

/// A need and its file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    node: u32,
    host: String,
    need: Need,
    system: FileSystem,
}

/// A file system that is too small.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortage {
    /// Message of one sentence.
    pub text: String,
    /// Whether the shortage is certain. An estimate that exceeds the free space by less than its error is not.
    pub is_certain: bool,
}

/// Relative error of an estimate that is tolerated.
const DOUBT: f64 = 0.10;

/// Refuses needs that do not fit. `first` ignores existing files; `again` considers them and is called only if `first`
/// does not fit. Every rank calls this function.
///
/// # Errors
/// The missing space, the same on all ranks.
pub(crate) async fn check(
    session: &Session,
    first: Vec<Need>,
    again: impl AsyncFnOnce() -> Result<Vec<Need>, Failure>,
) -> Result<(), Failure> {
    let enabled = session.loaded.workload.dlio_rs.space_check;
    if !enabled || short_of(session, first).await?.is_empty() {
        return Ok(());
    }
    let needs = session.agree(again().await).await?;
    let mut failure = None;
    for Shortage { text, is_certain } in short_of(session, needs).await? {
        if is_certain {
            failure.get_or_insert_with(|| Failure::new(Code::Storage, text));
        } else {
            session.warn(&text);
        }
    }
    session.agree(failure.map_or(Ok(()), Err)).await
}

/// Returns the shortages for these needs and those of the other ranks.
async fn short_of(session: &Session, needs: Vec<Need>) -> Result<Vec<Shortage>, Failure> {
    let all = gather(&*session.comm, &claims(session.comm.place(), needs)).await?.concat();
    Ok(judge(&all))
}

/// Returns the needs of a rank with their file systems.
#[must_use]
pub fn claims(place: &Place, needs: Vec<Need>) -> Vec<Claim> {
    let claim = |need: Need| {
        // A file system that cannot be inspected is no reason to refuse.
        let system = FileSystem::of(&need.folder).ok()?;
        Some(Claim { node: place.node, host: place.host.clone(), need, system })
    };
    needs.into_iter().filter_map(claim).collect()
}

/// Compares the claims on each file system with its free space and inodes.
#[must_use]
pub fn judge(claims: &[Claim]) -> Vec<Shortage> {
    by_system(claims).values().filter_map(|claims| shortage(claims)).collect()
}

/// Returns one sentence for each file system on which the needs fit.
#[must_use]
pub fn fitting(claims: &[Claim]) -> Vec<String> {
    let told = |claims: &Vec<&Claim>| {
        let system = &claims.first()?.system;
        let bytes = claims.iter().fold(0_u64, |sum, claim| sum.saturating_add(claim.need.bytes));
        Some(format!(
            "{}: {} are needed and {} are free on {} ({}); quotas are not seen",
            listed(claims, |need| &need.what),
            amount(bytes),
            amount(system.free),
            system.mount.display(),
            system.kind
        ))
    };
    by_system(claims).values().filter_map(told).collect()
}

/// Groups claims by file system: of a node, or of all nodes.
fn by_system(claims: &[Claim]) -> BTreeMap<(Option<u32>, String), Vec<&Claim>> {
    let mut systems: BTreeMap<_, Vec<&Claim>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.need.bytes > 0) {
        let node = (!claim.system.is_shared()).then_some(claim.node);
        systems.entry((node, claim.system.identity())).or_default().push(claim);
    }
    systems
}

/// Claims on one file system.
fn shortage(claims: &[&Claim]) -> Option<Shortage> {
    let first = claims.first()?;
    let sum = |of: fn(&Need) -> u64| claims.iter().fold(0_u64, |sum, claim| sum.saturating_add(of(&claim.need)));
    let (bytes, inodes) = (sum(|need| need.bytes), sum(|need| need.inodes));
    let free = claims.iter().map(|claim| claim.system.free).min()?;
    let free_inodes = claims.iter().filter_map(|claim| claim.system.free_inodes).min();
    let is_exact = claims.iter().all(|claim| claim.need.is_exact);
    let system = &first.system;
    let nodes = if system.is_shared() { "all nodes".to_owned() } else { format!("host {}", first.host) };
    let place = format!("{} (file system {} of {nodes})", system.mount.display(), system.kind);
    let (what, keys) = (listed(claims, |need| &need.what), listed(claims, |need| &need.key));
    let folder = first.need.folder.display();
    let advice = format!("make room, set {keys} to another place, or try all the same with dlio_rs.space_check=false");
    if let Some(left) = free_inodes.filter(|left| inodes > *left) {
        let text = format!(
            "{what} in {folder}: {inodes} files and folders are needed and {left} inodes are free on {place}; {advice}"
        );
        return Some(Shortage { text, is_certain: true });
    }
    if bytes <= free {
        return None;
    }
    let about = if is_exact { "" } else { "about " };
    let text = format!(
        "{what} in {folder}: {about}{} are needed and {} are free on {place}; {} are missing: {advice}",
        amount(bytes),
        amount(free),
        dlio_event::quantity::bytes(bytes - free)
    );
    let is_certain = is_exact || bytes as f64 * (1.0 - DOUBT) > free as f64;
    Some(Shortage { text, is_certain })
}

/// Joins the different names of claims with commas and "and".
fn listed<'a>(claims: &[&'a Claim], word: fn(&'a Need) -> &'a String) -> String {
    let mut words: Vec<&str> = Vec::new();
    for claim in claims {
        let word = word(&claim.need);
        if !words.contains(&word.as_str()) {
            words.push(word);
        }
    }
    words.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(node: u32, kind: &str, bytes: u64, free: u64) -> Claim {
        Claim {
            node,
            host: format!("node{node}"),
            need: Need {
                what: "the dataset".into(),
                key: "dataset.data_folder".into(),
                folder: "/mnt/x/data".into(),
                bytes,
                inodes: 10,
                is_exact: true,
            },
            system: FileSystem {
                kind: kind.into(),
                mount: "/mnt/x".into(),
                device: 7,
                block: 4096,
                total: 1 << 40,
                free,
                free_inodes: Some(100),
            },
        }
    }

    #[test]
    fn what_fits_exactly_fits_and_a_byte_more_does_not() {
        assert_eq!(judge(&[claim(0, "ext4", 1000, 1000)]), []);
        let short = judge(&[claim(0, "ext4", 1001, 1000)]);
        assert_eq!(short.len(), 1);
        for part in ["the dataset", "/mnt/x/data", "1001 bytes", "1000 bytes", "ext4", "node0", "dlio_rs.space_check"] {
            assert!(short[0].text.contains(part), "{part}: {}", short[0].text);
        }
        assert!(short[0].is_certain);
    }

    #[test]
    fn ranks_of_a_node_share_its_file_system_and_nodes_do_not() {
        assert_eq!(judge(&[claim(0, "xfs", 600, 1000), claim(1, "xfs", 600, 1000)]), []);
        assert_eq!(judge(&[claim(0, "xfs", 600, 1000), claim(0, "xfs", 600, 1000)]).len(), 1);
    }

    #[test]
    fn a_network_file_system_is_one_for_all_nodes() {
        let short = judge(&[claim(0, "nfs", 600, 1000), claim(1, "nfs", 600, 1000)]);
        assert_eq!(short.len(), 1);
        assert!(short[0].text.contains("all nodes"), "{}", short[0].text);
    }

    #[test]
    fn inodes_count_too_and_unknown_ones_do_not() {
        let mut claim = claim(0, "ext4", 10, 1000);
        claim.need.inodes = 101;
        assert!(judge(std::slice::from_ref(&claim))[0].text.contains("100 inodes are free"));
        claim.system.free_inodes = None;
        assert_eq!(judge(&[claim]), []);
    }

    #[test]
    fn an_estimate_is_a_reason_to_refuse_only_beyond_its_error() {
        let mut claim = claim(0, "ext4", 1050, 1000);
        claim.need.is_exact = false;
        assert!(!judge(std::slice::from_ref(&claim))[0].is_certain);
        claim.need.bytes = 1200;
        assert!(judge(&[claim])[0].is_certain);
    }

    #[test]
    fn needs_of_several_kinds_on_one_file_system_add_up() {
        let mut checkpoints = claim(0, "ext4", 600, 1000);
        checkpoints.need.what = "the checkpoints".into();
        let short = judge(&[claim(0, "ext4", 600, 1000), checkpoints]);
        assert!(short[0].text.starts_with("the dataset and the checkpoints in"), "{}", short[0].text);
    }
}
