//! The main sequence of serve, generate, replay and analyze, with numbers that can be verified independently.

use std::path::Path;

use dlio_event::{OpKind, Phase};

use crate::support::{Server, events, json, mpirun, python, solo, solo_with};

fn yaml(folder: &Path, more: &str) -> String {
    let path = folder.join("my.yaml");
    let text = format!(
        "model: {{name: t}}\nframework: pytorch\n\
         workflow: {{generate_data: true, train: true}}\n\
         dataset: {{data_folder: 's3://bucket/set', format: npz, num_files_train: 32, num_samples_per_file: 1, record_length_bytes: 65536}}\n\
         reader: {{data_loader: pytorch, batch_size: 2, read_threads: 2}}\n\
         train: {{epochs: 2, computation_time: 0.005}}\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_main_job_over_four_endpoints_with_four_ranks() {
    let server = Server::start(4, &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let out = folder.path().join("out");
    let out_text = out.to_str().unwrap();
    let target = ["--registry", server.registry(), "--output", out_text];
    mpirun(4, &[&["-q", "generate", &path], &target[..]].concat()).ok();
    mpirun(4, &[&["-q", "replay", &path, "--list"], &target[..]].concat()).ok();

    let facts = python("trace.py", &[out.join("trace").to_str().unwrap()]);
    assert_eq!(facts["ranks"], serde_json::json!([0, 1, 2, 3]));
    let all: Vec<u64> = (0..32).collect();
    for epoch in ["1", "2"] {
        assert_eq!(facts["samples"][epoch], serde_json::json!(all), "epoch {epoch}");
    }
    let endpoints = facts["endpoints"].as_object().unwrap();
    assert_eq!(endpoints.len(), 4, "{endpoints:?}");
    let written = python("trace.py", &[out.join("trace-generate").to_str().unwrap()]);
    assert_eq!(written["endpoints"].as_object().unwrap().len(), 4, "{written}");

    let said = solo(&["analyze", out_text]).ok();
    assert!(said.out.contains("AU"), "{}", said.out);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("<html") && !report.contains("https://") && !report.contains("src=\"http"));
    let summary = json(&out.join("summary.json"));
    let live = summary["metric"]["train_au_mean_percentage"].as_f64().unwrap();
    let recomputed = json(&out.join("report.json"))["train"]["au"]["mean"].as_f64().unwrap();
    assert!((live - recomputed).abs() <= 0.001 * live, "live {live}, from the trace {recomputed}");
}

#[test]
fn one_rank_over_four_endpoints_uses_all_of_them_and_says_so() {
    let server = Server::start(4, &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let out = folder.path().join("out");
    let said = solo(&["generate", &path, "--registry", server.registry(), "--output", out.to_str().unwrap()]).ok();
    assert!(said.err.contains("4 endpoints"), "{}", said.err);
    let written = python("trace.py", &[out.join("trace-generate").to_str().unwrap()]);
    assert_eq!(written["endpoints"].as_object().unwrap().len(), 4, "{written}");
}

#[test]
fn endpoints_with_stores_of_their_own_hold_what_the_mapping_gives_them() {
    let server = Server::start(2, &["--separate"]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let out = folder.path().join("out");
    let target = ["--registry", server.registry(), "--output", out.to_str().unwrap()];
    mpirun(2, &[&["-q", "generate", &path], &target[..]].concat()).ok();
    // Rank r wrote files r, r+2, …; a single rank finds half of them at the only endpoint that it uses.
    let forced = ["replay", &path, "++storage.use_mpi_endpoint_distribution=true", "reader.read_threads=0"];
    let said = solo(&[&forced[..], &target[..]].concat()).failed(4, &["img_01_of_32.npz"]);
    assert!(said.err.contains("unused are"), "{}", said.err);
}

#[test]
fn endpoints_and_credentials_come_from_the_configuration_or_the_environment() {
    let server = Server::start(2, &["--access-key", "AKTEST", "--secret-key", "sekret"]);
    let folder = tempfile::tempdir().unwrap();
    let uris = server.endpoints().join(",");
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();

    let path = yaml(folder.path(), "");
    let env =
        [("S3_ENDPOINT_URIS", uris.as_str()), ("AWS_ACCESS_KEY_ID", "AKTEST"), ("AWS_SECRET_ACCESS_KEY", "sekret")];
    solo_with(&env, &["-q", "run", &path, "--output", out]).ok();

    let storage = format!(
        "storage:\n  storage_type: s3\n  endpoint_uris: [{}]\n  storage_options: {{access_key_id: AKTEST, secret_access_key: sekret, region: us-east-1, s3_force_path_style: true}}\n",
        server.endpoints().iter().map(|uri| format!("'{uri}'")).collect::<Vec<_>>().join(", ")
    );
    let path = yaml(folder.path(), &storage);
    solo(&["-q", "run", &path, "--overwrite", "--output", out]).ok();
    if cfg!(feature = "sdk") {
        solo(&["-q", "replay", &path, "dlio_rs.s3_client=sdk", "--output", out]).ok();
    } else {
        let refused = solo(&["-q", "replay", &path, "dlio_rs.s3_client=sdk", "--output", out]);
        refused.failed(2, &["dlio_rs.s3_client", "--features sdk"]);
        solo(&["-q", "replay", &path, "--output", out]).ok();
    }
    let trace = std::fs::read(Path::new(out).join("trace/rank-00000.parquet")).unwrap();
    assert!(!trace.windows(6).any(|window| window == b"sekret"), "the secret key is in the trace");
}

#[test]
fn utilisation_against_a_known_delay_is_what_one_computes_by_hand() {
    // With one inline reader, every step waits for two sequential requests of 40 ms each and then computes for 80 ms.
    let server = Server::start(1, &["--delay-ms", "40"]);
    let folder = tempfile::tempdir().unwrap();
    let path = yaml(folder.path(), "");
    let out = folder.path().join("out");
    let more = ["--registry", server.registry(), "--output", out.to_str().unwrap()];
    let overrides =
        ["reader.read_threads=0", "train.computation_time=0.08", "train.epochs=1", "dataset.num_files_train=24"];
    solo(&[&["-q", "run", &path], &overrides[..], &more[..]].concat()).ok();
    // The machine may take longer for requests and computation; the trace contains these times, and the expected values follow.
    let mut spans: [Vec<(u64, u64)>; 3] = [OpKind::Fetch, OpKind::Compute, OpKind::Block].map(|kind| {
        let found = events(&out).into_iter().filter(|event| event.kind == kind && event.at.phase == Phase::Train);
        found.map(|event| (event.start, event.end)).collect()
    });
    for spans in &mut spans {
        spans.sort_unstable();
    }
    let [fetched, computed, blocks] = &spans;
    assert_eq!((fetched.len(), computed.len(), blocks.len()), (12, 12, 1));
    assert!(fetched.iter().chain(computed).all(|(start, end)| end - start >= 80_000_000), "{spans:?}");
    // The first step is excluded.
    let counted: u64 = computed[1..].iter().map(|(start, end)| end - start).sum();
    let outside = computed[0].1 - fetched[0].0;
    let by_hand = 100.0 * counted as f64 / (blocks[0].1 - blocks[0].0 - outside) as f64;
    let summary = json(&out.join("summary.json"));
    let au = summary["metric"]["train_au_mean_percentage"].as_f64().unwrap();
    assert!((au - by_hand).abs() < 1e-6, "AU {au} %, by hand {by_hand} %");
    // The AU is 50 % if requests and computation take exactly the configured time.
    let most = 100.0 * counted as f64 / (counted + 11 * 80_000_000) as f64;
    assert!(au <= most, "AU {au} %, the delays allow {most} %");
}

#[test]
fn a_trace_that_was_recorded_with_an_earlier_build_is_read_with_the_same_metrics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/unet3d-2-ranks");
    let said = solo(&["analyze", folder.to_str().unwrap(), "--no-files"]).ok();
    for part in ["unet3d: 2 ranks", "AU 74.79 %", "98.4 samples/s", "AU per epoch and rank"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let facts = python("trace.py", &[folder.to_str().unwrap()]);
    let all: Vec<u64> = (0..16).collect();
    assert_eq!(facts["samples"], serde_json::json!({"1": all, "2": all}));
}

#[test]
fn serve_ends_on_sigterm_and_takes_its_announcements_with_it() {
    let mut server = Server::start(3, &[]);
    assert_eq!(server.endpoints().len(), 3);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(server.registry.join("credentials")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "the key pair is readable by others");
    assert_eq!(server.terminate(), Some(0));
    assert!(server.endpoints().is_empty());
}
