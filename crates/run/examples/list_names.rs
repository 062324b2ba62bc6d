//! Measures the memory and the time of comparing a dataset of many files with a listing: `list_names [FILES [STRANGE]]`.
//!
//! The listing is generated page by page, as S3 sends it, with one name in a thousand left out and `STRANGE` names of other
//! programs. Prints the largest resident set of the process before and after.

use std::time::Instant;

use dlio_config::Source;
use dlio_plan::{FileSet, Split};
use dlio_run::dataset::listing::Listing;

/// Names per page.
const PAGE: usize = 1000;

#[expect(clippy::print_stdout, reason = "an example prints what it measures")]
#[expect(clippy::disallowed_methods, reason = "the time is of interest to whoever runs the example only")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(50_000_000), |text| text.parse())?;
    let strange: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let yaml = format!(
        "framework: pytorch\nworkflow: {{train: true}}\n\
         dataset: {{format: jpeg, num_files_train: {count}, num_subfolders_train: 1000, num_samples_per_file: 1, \
         record_length_bytes: 150528}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1}}\n"
    );
    let source = Source { name: "list_names.yaml", yaml: &yaml };
    let workload = dlio_config::load(&source, &[], &std::collections::BTreeMap::new(), None)?.workload;
    let files = FileSet::new(&workload)?;
    let before = peak_kib()?;
    let mut listing = Listing::new(files.clone());
    let started = Instant::now();
    let present =
        files.by_name(Split::Train).filter(|combined| combined % 1000 != 7).map(|combined| files.name(combined));
    let mut names = present.chain((0..strange).map(|number| format!("train/other_{number}.jpeg")));
    let mut page = Vec::with_capacity(PAGE);
    loop {
        page.clear();
        page.extend(names.by_ref().take(PAGE));
        if page.is_empty() {
            break;
        }
        for name in &page {
            listing.add(name, 150_528);
        }
    }
    let (seconds, after) = (started.elapsed().as_secs_f64(), peak_kib()?);
    let (missing, unexpected) = (listing.missing(), listing.unexpected());
    println!("{count} files: {} present, {missing} missing, {} unexpected names", listing.present(), unexpected.count);
    println!("missing: {}", listing.missing_names(3).join(", "));
    println!("unexpected: {}", unexpected.first.join(", "));
    println!("{seconds:.1} s, {:.0} ns per name", seconds * 1e9 / (listing.present() + unexpected.count) as f64);
    println!("largest resident set: {before} KiB before, {after} KiB after, {} KiB for the listing", after - before);
    Ok(())
}

/// Largest resident set of this process so far, in KiB.
fn peak_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
