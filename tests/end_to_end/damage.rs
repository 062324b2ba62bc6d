//! Damaged traces and paths that are not regular files: every command rejects them at once and names them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{binary, clean, json, solo};

/// A workload on local files, and its output folder.
fn workload(folder: &Path) -> (String, String) {
    let yaml = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\ndataset: {{data_folder: '{}', format: npz, num_files_train: 8, num_samples_per_file: 1, record_length_bytes: 4096}}\n\
         reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\ntrain: {{epochs: 1, computation_time: 0.001}}\n",
        folder.join("data").display()
    );
    std::fs::write(&yaml, text).unwrap();
    (yaml.to_str().unwrap().to_owned(), folder.join("out").to_str().unwrap().to_owned())
}

fn fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_flipped_bit_of_a_trace_is_refused_by_whatever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (yaml, out) = workload(folder.path());
    solo(&["-q", "run", &yaml, "workflow.generate_data=true", "--output", &out]).ok();
    let trace = folder.path().join("out/trace/rank-00000.parquet");
    let whole = std::fs::read(&trace).unwrap();
    let length = u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().unwrap());
    let footer = whole.len() - 8 - usize::try_from(length).unwrap();
    // These offsets are the end of the last column chunk of the last row group and the middle of the footer.
    for (at, words) in [
        (footer - 1, ["column tag of row group 0", "its checksum does not match"]),
        (footer + 300, ["the checksum of its footer", "does not match"]),
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 16;
        std::fs::write(&trace, bytes).unwrap();
        let (file, csv, again) = (trace.to_str().unwrap(), format!("{out}.csv"), format!("{out}-again"));
        let commands: [&[&str]; 4] = [
            &["analyze", &out, "--no-files"],
            &["trace", "export", &out, "--to", "csv", "--out", &csv],
            &["replay", &out, "--output", &again],
            &["trace", "fit", &out],
        ];
        for command in commands {
            let words = [file, words[0], words[1]];
            // Only an export reads every column.
            if at > footer || command[1] == "export" {
                solo(command).failed(6, &words);
            }
        }
        if at > footer {
            solo(&["trace", "repair", &out]).failed(6, &[file, words[0], words[1]]);
        }
    }
    std::fs::write(&trace, whole).unwrap();
    solo(&["analyze", &out, "--no-files"]).ok();
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (yaml, out) = workload(folder.path());
    solo(&["-q", "generate", &yaml, "--output", &out]).ok();
    let sample = folder.path().join("data/train/img_5_of_8.npz");
    fifo(&sample);
    solo(&["replay", &yaml, "--output", &out]).failed(3, &["img_5_of_8.npz", "it is a FIFO, not a file"]);
    std::fs::create_dir(folder.path().join("trace")).unwrap();
    let trace = folder.path().join("trace/rank-00000.parquet");
    fifo(&trace);
    let again = format!("{out}-again");
    for words in [
        &["analyze", folder.path().to_str().unwrap(), "--no-files"][..],
        &["replay", folder.path().join("trace").to_str().unwrap(), "--output", &again],
    ] {
        solo(words).failed(6, &["rank-00000.parquet", "it is a FIFO, not a file"]);
    }
    let source = folder.path().join("ops.csv");
    fifo(&source);
    let imported = format!("{out}-imported");
    solo(&["trace", "import", source.to_str().unwrap(), "--out", &imported])
        .failed(6, &["ops.csv", "it is a FIFO, not a file"]);
    fifo(Path::new(&yaml));
    solo(&["validate", &yaml]).failed(2, &["my.yaml", "it is a FIFO, not a file"]);
}

/// A trace of sequential reads of a program without a training loop; some reads take fifty times as long.
fn slow_stretch() -> String {
    let mut text =
        "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
            .to_owned();
    let moment = |micros: u64| format!("2026-01-01T00:00:{:02}.{:06}Z", micros / 1_000_000, micros % 1_000_000);
    let mut now = 0;
    for number in 0..2_000 {
        let took = if (900..960).contains(&number) { 50_000 } else { 1_000 };
        let [start, first, end] = [now, now + took / 2, now + took].map(moment);
        let _ = writeln!(
            text,
            "{number}\t0\tGET\tc1\t1\t1000\thttp://h:9\to/{number}\t\t{start}\t{first}\t{end}\t{}",
            took * 1000
        );
        now += took + 200;
    }
    text
}

#[test]
fn a_log_from_standard_input_with_a_slow_stretch_has_a_report_of_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("warp.csv");
    std::fs::write(&log, slow_stretch()).unwrap();
    let imported = folder.path().join("imported");
    // A pipe, as in a shell.
    let mut cat = Command::new("cat").arg(&log).stdout(Stdio::piped()).spawn().unwrap();
    let mut import = Command::new(binary());
    clean(&mut import)
        .args(["trace", "import", "/dev/stdin", "--out"])
        .arg(&imported)
        .stdin(cat.stdout.take().unwrap());
    let import = import.output().unwrap();
    cat.wait().unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    let said = solo(&["analyze", imported.to_str().unwrap()]).ok();
    assert!(said.out.contains("times as long as usual") && !said.out.contains("NaN"), "{}", said.out);
    let report = json(&imported.join("report.json"));
    assert!(report["why"]["findings"][0]["text"].as_str().unwrap().ends_with("times as long as usual"), "{report}");
    let page = std::fs::read_to_string(imported.join("report.html")).unwrap();
    assert!(!page.contains("NaN %"));
}
