//! Training on a part of a data set that was generated with more files: the reference lists the folder and takes the first
//! files of it. Their names carry the larger number, and one name is enough to know them all.

use std::path::Path;

use crate::exit::{Code, Failure};
use crate::run::Work;
use crate::session::{Session, gather};
use crate::storage::Target;

/// Finds how many training files were generated, when there are not exactly as many as are asked for.
///
/// # Errors
/// Fewer files than asked for, in the reference's words.
pub(super) async fn adopt(session: &mut Session, work: Work) -> Result<(), Failure> {
    let dataset = &session.loaded.workload.dataset;
    let wanted = dataset.num_files_train;
    if work.generate || !work.train || dataset.num_files_generated.is_some() {
        return Ok(());
    }
    let found = match Target::of(&session.loaded.workload) {
        Ok(Target::Local { root }) if session.rank() == 0 => generated(session, &root.join("train")),
        _ => None,
    };
    let all: Vec<Option<u64>> = gather(&*session.comm, &found).await?;
    let Some(found) = all.first().copied().flatten().filter(|found| *found != wanted) else { return Ok(()) };
    if found < wanted {
        let text =
            "Not enough training dataset is found; Please run the code with ++workload.workflow.generate_data=True";
        let failure =
            format!("{text} (dataset.num_files_train: {wanted}; the files there belong to a data set of {found})");
        return session.agree(Err(Failure::new(Code::Data, failure))).await;
    }
    session.log.warning(&format!(
        "Number of files for training in {}/train ({found}) is more than requested ({wanted}). A subset of files will be used ",
        dataset.data_folder
    ));
    session.loaded.workload.dataset.num_files_generated = Some(found);
    Ok(())
}

/// The number in the names of a folder, or of its first sub-folder.
fn generated(session: &Session, folder: &Path) -> Option<u64> {
    let dataset = &session.loaded.workload.dataset;
    let suffix = format!(".{}", dataset.format);
    let entries = std::fs::read_dir(folder).ok()?;
    for entry in entries.filter_map(Result::ok) {
        if dataset.num_subfolders_train > 1 && entry.path().is_dir() {
            return generated(session, &entry.path());
        }
        if let Some(number) = entry.file_name().to_str().and_then(|name| number(name, &dataset.file_prefix, &suffix)) {
            return Some(number);
        }
    }
    None
}

/// `img_003_of_168.npz` → 168
fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let numbers = name.strip_prefix(prefix)?.strip_prefix('_')?.strip_suffix(suffix)?;
    let (index, count) = numbers.split_once("_of_")?;
    index.parse::<u64>().ok()?;
    count.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_a_name() {
        assert_eq!(number("img_003_of_168.npz", "img", ".npz"), Some(168));
        assert_eq!(number("img_003_of_168.npz.tmp", "img", ".npz"), None);
        assert_eq!(number("other_1_of_2.npz", "img", ".npz"), None);
        assert_eq!(number("img_x_of_2.npz", "img", ".npz"), None);
    }
}
