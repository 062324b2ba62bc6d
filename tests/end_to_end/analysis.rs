//! `dlio-rs analyze`: options, ranks, exit codes and messages for bad input.

use std::path::Path;

use crate::support::{mpirun, python, solo};

/// A recorded run of two ranks.
fn recorded() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/unet3d-2-ranks").to_str().unwrap().to_owned()
}

fn report(words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&solo(words).ok().out).unwrap()
}

#[test]
fn every_form_of_the_report_tells_the_same_run() {
    let path = recorded();
    let json = report(&["analyze", &path, "--no-files", "--format", "json"]);
    let operations = json["run"]["operations"].as_u64().unwrap();
    let csv = solo(&["analyze", &path, "--no-files", "--format", "csv"]).ok().out;
    let rank =
        |line: &str| line.strip_prefix("ranks,").map(|rest| rest.split(',').nth(3).unwrap().parse::<u64>().unwrap());
    assert_eq!(csv.lines().filter_map(rank).sum::<u64>(), operations, "{csv}");
    let markdown = solo(&["analyze", &path, "--no-files", "--format", "md"]).ok().out;
    assert!(markdown.contains("## operations") && markdown.contains("| op | size |"), "{markdown}");
    let table = solo(&["analyze", &path, "--no-files"]).ok().out;
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn under_mpirun_the_numbers_are_those_of_one_process() {
    let path = recorded();
    let words = ["analyze", &path, "--no-files", "--format", "json"];
    let alone = solo(&words).ok().out;
    for ranks in [2, 3] {
        let together = mpirun(ranks, &words).ok().out;
        assert_eq!(together, alone, "{ranks} ranks");
    }
    mpirun(2, &["analyze", "/nonexistent/folder"]).failed(6, &["/nonexistent/folder"]);
}

#[test]
fn a_streaming_analysis_says_its_error() {
    let path = recorded();
    let said = solo(&["analyze", &path, "--no-files", "--streaming"]).ok();
    assert!(said.out.contains("streaming: percentiles within 0.4 %"), "{}", said.out);
}

#[test]
fn a_run_against_itself_changed_nothing_and_crosses_no_threshold() {
    let path = recorded();
    let words = ["analyze", &path, "--no-files", "--base", &path, "--format", "json"];
    let json = report(&words);
    let changes = json["comparison"].as_array().unwrap();
    assert!(!changes.is_empty() && changes.iter().all(|change| change["change_percentage"] == 0.0), "{changes:?}");
    solo(&[&words[..], &["--fail-if", "au<-1%"]].concat()).ok();
    solo(&[&words[..], &["--fail-if", "au<1%"]].concat()).failed(2, &["did you mean au<-1%"]);
    solo(&["analyze", &path, "--fail-if", "au<-1%"]).failed(2, &["--base"]);
    solo(&[&words[..], &["--fail-if", "speed<1"]].concat()).failed(2, &["metrics:"]);
}

#[test]
fn bad_input_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let text = at.to_str().unwrap();
    solo(&["analyze", text]).failed(6, &["no traces", text]);
    solo(&["analyze", at.join("missing").to_str().unwrap()]).failed(6, &["does not exist"]);
    let whole = std::fs::read(Path::new(&recorded()).join("rank-00000.parquet")).unwrap();
    let file = at.join("rank-00000.parquet");
    // A truncated file is read up to its last footer, and the report says so.
    std::fs::write(&file, [&whole[..], b"half a row group"].concat()).unwrap();
    let said = solo(&["analyze", text, "--no-files"]).ok();
    // Lines are wrapped at the width of the terminal.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lost = "the trace of rank 0 stops";
    assert!(words(&said.out).contains(lost) && said.out.contains("ranks have a trace"), "{}", said.out);
    // A file that is cut in the middle has only the first footer; a file of magic bytes alone has none.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let said = solo(&["analyze", text, "--no-files"]).ok();
    assert!(words(&said.out).contains(lost) && said.out.contains("contain no events"), "{}", said.out);
    std::fs::write(&file, &whole[..16]).unwrap();
    solo(&["analyze", text]).failed(6, &["rank-00000.parquet"]);
    // The bytes of row groups are overwritten, but the footer is intact.
    let tail = whole.len() - 8;
    let footer = usize::try_from(u32::from_le_bytes(whole[tail..tail + 4].try_into().unwrap())).unwrap();
    let mut damaged = whole.clone();
    damaged[4..tail - footer].fill(0xff);
    std::fs::write(&file, &damaged).unwrap();
    solo(&["analyze", text]).failed(6, &["rank-00000.parquet", "damaged"]);
    // Every footer has a later major version.
    let key = b"dlio.trace.version";
    let mut later = whole.clone();
    for at in (0..whole.len() - key.len()).filter(|at| whole[*at..].starts_with(key)) {
        let digit = (at..at + 40).find(|at| whole[*at..].starts_with(b"1.")).unwrap();
        later[digit] = b'9';
    }
    std::fs::write(&file, &later).unwrap();
    solo(&["analyze", text]).failed(6, &["trace format 9"]);
}

#[test]
fn pandas_finds_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = recorded();
    let json = folder.path().join("report.json");
    let html = folder.path().join("report.html");
    solo(&["analyze", &path, "--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()]).ok();
    let compared = python("analysis.py", &[&path, json.to_str().unwrap()]);
    assert!(compared["values"].as_u64().unwrap() > 40, "{compared}");
    assert_eq!(compared["differ"].as_array().unwrap().len(), 0, "{compared:#}");
}
