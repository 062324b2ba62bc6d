//! Checkpoints as the reference writes them: files, names, tensors and sizes.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use dlio_config::Tensor;
use dlio_plan::checkpoint::DuringTraining;
use dlio_plan::{CheckpointFile, CheckpointPart, CheckpointPlan, Split, World, checkpoints, training};
use serde_json::{Value, json};
use support::{golden, number, workload};

/// Returns the plan of a workload that only writes checkpoints. `model` is YAML in flow style.
fn plan(size: u32, model: &str, overrides: &[&str]) -> CheckpointPlan {
    let yaml = format!(
        "model: {model}\nframework: pytorch\nworkflow: {{train: false, checkpoint: true}}\n\
         checkpoint: {{num_checkpoints_write: 1}}\n"
    );
    checkpoints(&workload(&yaml, overrides), World { size }).expect("a plan")
}

fn small_transformer(layers: u32, grid: &str) -> String {
    format!(
        "{{type: transformer, num_layers: {layers}, parallelism: {grid}, transformer: {{vocab_size: 320, hidden_size: 64, \
         ffn_hidden_size: 128, num_attention_heads: 8, num_kv_heads: 4}}}}"
    )
}

/// Returns the files of all ranks by name; only one rank writes each name.
fn all_files(plan: &CheckpointPlan) -> BTreeMap<String, CheckpointFile> {
    let mut files = BTreeMap::new();
    for file in (0..plan.world().size).flat_map(|rank| plan.files(rank)) {
        let name = file.name.clone();
        assert_eq!(files.insert(name.clone(), file), None, "{name} is written twice");
    }
    files
}

/// Returns the mapping of a file in the form of the golden file.
fn state(file: &CheckpointFile) -> Value {
    let mut state = json!({});
    for tensor in &file.tensors {
        let (last, parents) = tensor.path.split_last().expect("a tensor has a key");
        let parent = parents.iter().fold(&mut state, |at, key| {
            at.as_object_mut().expect("a mapping").entry(key.as_str()).or_insert_with(|| json!({}))
        });
        parent[last] = json!([tensor.dtype.word(), [tensor.elements]]);
    }
    state
}

/// Returns the checkpoints of a golden entry, as epoch and step.
fn taken(entry: &Value, plan: &CheckpointPlan) -> BTreeSet<String> {
    let alone = plan.alone().map(|alone| (1..=alone.writes).map(|step| (1, step)).collect::<Vec<_>>());
    let taken = alone.unwrap_or_else(|| {
        let reading = training(&workload(&entry["workload"].to_string(), &[]), plan.world()).expect("a plan");
        let during: DuringTraining = plan.during_training().expect("a run that trains");
        during.taken(reading.epochs(), reading.steps(Split::Train)).collect()
    });
    taken.into_iter().map(|(epoch, step)| plan.folder(epoch, step)).collect()
}

#[test]
fn files_tensors_and_sizes_are_the_recorded_ones() {
    let entries = golden(include_str!("golden/checkpoints.json"));
    let mut compared = 0;
    for (name, entry) in &entries {
        let world = World { size: number(&entry["np"]) };
        let workload = workload(&entry["workload"].to_string(), &[]);
        let plan = checkpoints(&workload, world).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (planned, folders) = (all_files(&plan), taken(entry, &plan));
        let recorded = entry["files"].as_object().expect("files");

        let found: BTreeSet<&str> = recorded.keys().filter_map(|path| path.split('/').next()).collect();
        assert_eq!(found, folders.iter().map(String::as_str).collect(), "{name}");
        let tensorflow = entry["workload"]["framework"] == "tensorflow";
        for folder in &folders {
            let inside = recorded.keys().filter_map(|path| path.strip_prefix(&format!("{folder}/")));
            let inside: BTreeSet<&str> = inside
                .filter(|file| *file != "checkpoint")
                .map(|file| file.split_once("-1.").map_or(file, |(stem, _)| stem))
                .collect();
            assert_eq!(inside, planned.keys().map(String::as_str).collect(), "{name} {folder}");
            for (file, planned) in planned.iter().filter(|_| !tensorflow) {
                let recorded = &recorded[&format!("{folder}/{file}")];
                assert_eq!(state(planned), recorded["state"], "{name} {file}");
                // The recording counts a shared storage once per tensor, but the file contains it once.
                let tensors: u64 = planned.tensors.iter().map(Tensor::bytes).sum();
                assert_eq!(json!(tensors), recorded["tensor_bytes"], "{name} {file}");
                let size = recorded["size"].as_u64().expect("a size");
                assert!((planned.bytes()..planned.bytes() + 9000).contains(&size), "{name} {file}: {size}");
                compared += 1;
            }
        }
        let by_files: u64 = planned.values().map(CheckpointFile::bytes).sum();
        assert_eq!(plan.written().total(), by_files, "{name}");
        assert_eq!(plan.written().files, planned.len() as u64, "{name}");
        sizes(name, entry, &plan);
    }
    assert!(entries.len() == 22 && compared > 80, "{} entries, {compared} files", entries.len());
}

/// Compares the size that the reference reports in its metrics and in its log.
fn sizes(name: &str, entry: &Value, plan: &CheckpointPlan) {
    const GIB: f64 = (1_u64 << 30) as f64;
    let reported = plan.reported();
    if let Some(size) = entry["metric"]["checkpoint_size_GB"].as_f64() {
        assert_eq!(size.to_string(), (plan.size_bytes() as f64 / GIB).to_string(), "{name}");
    }
    for line in entry["log"].as_array().expect("a log") {
        let line = line.as_str().expect("a line").trim_end().trim_end_matches(" (subset)");
        let (what, number) = match line.trim_end().trim_end_matches(" GB").rsplit_once(": ") {
            Some(("Model size", number)) => (reported.model, number),
            Some(("Optimizer state size", number)) => (reported.optimizer, number),
            Some(("Total checkpoint size", number)) => (reported.total(), number),
            Some(("Performing subset checkpointing", number)) => {
                let text = format!("{} of {}", plan.world().size, plan.subset_of().expect("a subset"));
                assert_eq!(text, number, "{name}");
                continue;
            }
            _ => unreachable!("{name}: {line}"),
        };
        assert_eq!(format!("{:.6}", what as f64 / GIB), number, "{name}: {line}");
    }
}

const LLAMA: [(&str, u32, &str); 4] = [
    (
        "8b",
        8,
        "{num_layers: 32, parallelism: {tensor: 1, pipeline: 1, zero_stage: 3}, transformer: {hidden_size: 4096, \
               ffn_hidden_size: 14336, num_attention_heads: 32, num_kv_heads: 8, vocab_size: 128256}",
    ),
    (
        "70b",
        64,
        "{num_layers: 80, parallelism: {tensor: 8, pipeline: 1, zero_stage: 3}, transformer: {hidden_size: 8192, \
                 ffn_hidden_size: 28672, num_attention_heads: 128, num_kv_heads: 8, vocab_size: 128256}",
    ),
    (
        "405b",
        512,
        "{num_layers: 126, parallelism: {tensor: 8, pipeline: 32, zero_stage: 1}, transformer: {hidden_size: \
                   16384, ffn_hidden_size: 53248, num_attention_heads: 128, num_kv_heads: 8, vocab_size: 128256}",
    ),
    (
        "1t",
        1024,
        "{num_layers: 128, parallelism: {tensor: 8, pipeline: 64, zero_stage: 1}, transformer: {hidden_size: \
                  25872, ffn_hidden_size: 98304, num_attention_heads: 192, num_kv_heads: 32, vocab_size: 128256}",
    ),
];

fn llama(index: usize, overrides: &[&str]) -> CheckpointPlan {
    let (_, size, model) = LLAMA[index];
    plan(size, &format!("{model}, type: transformer}}"), overrides)
}

fn gib(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / (1_u64 << 30) as f64)
}

#[test]
fn the_llama3_checkpoints_of_mlperf_have_the_sizes_of_its_rules() {
    let expected = [
        (8_030_261_248, "14.958", "89.747", "104.705", 16),
        (69_882_617_856, "130.184", "781.028", "911.212", 128),
        (405_853_388_800, "756.015", "4536.234", "5292.249", 1544),
        (1_183_035_102_480, "2203.661", "13222.928", "15426.589", 2072),
    ];
    for (index, (parameters, model, optimizer, total, files)) in expected.into_iter().enumerate() {
        for dialect in ["dlio", "mlperf", "native"] {
            let plan = llama(index, &[&format!("++dlio_rs.dialect={dialect}")]);
            let (written, name) = (plan.written(), LLAMA[index].0);
            assert_eq!(plan.parameters(), parameters, "{name}");
            assert_eq!(gib(written.model), model, "{name}");
            assert_eq!(gib(written.optimizer), optimizer, "{name}");
            assert_eq!(gib(plan.size_bytes()), total, "{name}");
            assert_eq!(plan.reported(), written, "{name}");
            assert_eq!(written.files, files, "{name}");
        }
    }
}

#[test]
fn the_ranks_of_the_llama3_checkpoints_write_what_the_rules_say() {
    let shares = |index: usize| {
        let plan = llama(index, &[]);
        let mut kinds: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        for rank in 0..plan.world().size {
            let parts = plan.rank_parts(rank);
            *kinds.entry((parts.model, parts.optimizer)).or_default() += 1;
        }
        let digits = |bytes: u64| format!("{:.4}", bytes as f64 / (1_u64 << 30) as f64);
        kinds
            .into_iter()
            .map(|((model, optimizer), ranks)| (ranks, digits(model), digits(optimizer)))
            .collect::<Vec<_>>()
    };
    let rows = |rows: &[(u32, &str, &str)]| {
        rows.iter()
            .map(|&(ranks, model, optimizer)| (ranks, model.to_owned(), optimizer.to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shares(0), rows(&[(8, "1.8697", "11.2184")]));
    assert_eq!(shares(1), rows(&[(64, "2.0341", "12.2036")]));
    let stages = [(256, "0.0000"), (8, "2.2267"), (8, "2.7160"), (232, "2.9690"), (8, "3.4583")];
    assert_eq!(shares(2), rows(&stages.map(|(ranks, model)| (ranks, model, "8.8598"))));
    let first_and_last = [(512, "0.0000"), (496, "4.2799"), (8, "5.0525"), (8, "5.0525")];
    let found = shares(3);
    assert_eq!(found, rows(&first_and_last.map(|(ranks, model)| (ranks, model, "12.9130"))));
}

#[test]
fn the_layer_files_of_the_large_llama3_models_have_the_recorded_lengths() {
    for (index, bytes) in [(2, 796_983_296), (3, 2_297_744_064)] {
        let files = llama(index, &[]).files(8);
        let layers: Vec<_> = files.iter().filter(|file| file.part == CheckpointPart::Layers).collect();
        assert!(!layers.is_empty() && layers.iter().all(|file| file.bytes() == bytes), "{index}");
    }
}

#[test]
fn every_layer_is_saved_exactly_once_per_shard() {
    for (tensor, pipeline, copies) in [(1, 1, 1), (2, 1, 3), (1, 3, 2), (2, 3, 2), (3, 5, 1)] {
        for zero in 0..=3 {
            for layers in [5, 6, 7, 16] {
                if zero == 3 && pipeline > 1 {
                    continue;
                }
                let grid = format!("{{tensor: {tensor}, pipeline: {pipeline}, zero_stage: {zero}}}");
                let plan = plan(tensor * pipeline * copies, &small_transformer(layers, &grid), &[]);
                let mut seen: BTreeMap<String, u32> = BTreeMap::new();
                for (name, file) in all_files(&plan).into_iter().filter(|(_, file)| file.part == CheckpointPart::Layers)
                {
                    let alone = name.strip_prefix("layer_").and_then(|rest| rest.split_once('-'));
                    let inside: BTreeSet<String> = match alone {
                        Some((layer, _)) => [layer.to_owned()].into(),
                        None => file.tensors.iter().map(|tensor| tensor.path[0].clone()).collect(),
                    };
                    for layer in inside {
                        *seen.entry(layer).or_default() += 1;
                    }
                }
                let shards = if zero == 3 { tensor * copies } else { tensor };
                let expected = (0..layers + 3).map(|layer| (layer.to_string(), shards)).collect();
                assert_eq!(seen, expected, "{grid} x {copies}, {layers} layers");
            }
        }
    }
}

#[test]
fn the_sum_over_the_ranks_is_the_total_also_for_part_of_a_model() {
    for (size, mode) in [(1, "subset"), (5, "subset"), (11, "subset"), (24, "subset"), (24, "default")] {
        for zero in 0..=2 {
            let data = if mode == "subset" { 4 } else { -1 };
            let grid = format!("{{tensor: 2, pipeline: 3, data: {data}, zero_stage: {zero}}}");
            let plan = plan(size, &small_transformer(7, &grid), &[&format!("checkpoint.mode={mode}")]);
            let sum: u64 = (0..size).map(|rank| plan.rank_bytes(rank)).sum();
            let files: usize = (0..size).map(|rank| plan.files(rank).len()).sum();
            assert_eq!((plan.written().total(), plan.written().files), (sum, files as u64), "{size} {mode} {zero}");
            let ranks: u64 = plan.kinds().iter().map(|(count, _)| count).sum();
            assert_eq!(ranks, u64::from(size));
            assert_eq!(plan.files(size), []);
        }
    }
}

#[test]
fn a_model_that_does_not_fit_the_ranks_is_refused_with_the_numbers() {
    let refused = |size: u32, model: &str, overrides: &[&str]| {
        let yaml = format!("model: {model}\nframework: pytorch\nworkflow: {{train: false, checkpoint: true}}\n");
        checkpoints(&workload(&yaml, overrides), World { size }).expect_err("a refusal").to_string()
    };
    let text = refused(6, &small_transformer(4, "{tensor: 2, pipeline: 2}"), &[]);
    assert!(text.starts_with("Number of processes 6 is not a multiple of model parallelism size: 4"), "{text}");
    let grid = "{tensor: 2, pipeline: 2, data: 2}";
    let text = refused(9, &small_transformer(4, grid), &["checkpoint.mode=subset"]);
    assert!(text.starts_with("Comm size: 9 is larger than 3D parallelism size: 8"), "{text}");
    let text = refused(1, "{num_layers: 2000000}", &[]);
    assert!(text.contains("num_layers is 2000000, expected at most 1048576"), "{text}");
    for (model, key) in [
        ("{optimization_groups: [9000000000000000000, 9000000000000000000]}", "model.optimization_groups"),
        ("{num_layers: 1000, layer_parameters: [900000000000000]}", "model.layer_parameters"),
        ("{num_layers: 9, transformer: {hidden_size: 9000000000000000000}}", "model.transformer"),
    ] {
        assert!(refused(1, model, &[]).starts_with(key), "{model}: {}", refused(1, model, &[]));
    }
}

#[test]
fn layers_of_given_parameters_share_their_storages_within_a_file() {
    let model = "{num_layers: 2, layer_parameters: [256, 0, 512], model_size_bytes: 0, parallelism: {tensor: 2}}";
    let files = plan(2, model, &[]).files(1);
    let file = &files[0];
    let tensors: Vec<_> =
        file.tensors.iter().map(|tensor| (tensor.path.join("/"), tensor.storage, tensor.elements)).collect();
    let expected = [("1/0", 0, 128), ("1/2", 1, 256), ("2/0", 0, 128), ("2/2", 1, 256)];
    assert_eq!(tensors, expected.map(|(path, storage, elements)| (path.to_owned(), storage, elements)));
    assert_eq!(file.bytes(), 384);
}

#[test]
fn tensors_too_small_for_their_shards_leave_an_empty_mapping() {
    let plan = plan(80, &small_transformer(2, "{zero_stage: 3}"), &[]);
    let files = plan.files(79);
    let file = files.iter().find(|file| file.part == CheckpointPart::Layers).expect("layers");
    assert_eq!(file.empty, [["4".to_owned()]]);
    assert_eq!(file.tensors[1].path, ["1", "1"]);
}

#[test]
fn objects_of_pytorch_on_s3_have_the_extension_of_their_writer() {
    let name = |overrides: &[&str]| plan(1, "{name: m}", overrides).files(0)[0].name.clone();
    let s3 = ["storage.storage_type=s3", "storage.storage_root=bucket"];
    assert_eq!(name(&[]), "model_states-0.pt");
    assert_eq!(name(&s3), "model_states-0.pts3");
    assert_eq!(name(&[s3[0], s3[1], "++dlio_rs.dialect=mlperf"]), "model_states-0.pt");
    assert_eq!(name(&["framework=tensorflow"]), "model_states-0.pb");
}

#[test]
fn checkpoints_are_taken_after_the_steps_and_epochs_of_the_reference() {
    let taken = |overrides: &[&str]| {
        let yaml = "workflow: {train: true, checkpoint: true}\nreader: {data_loader: tensorflow}\ntrain: {epochs: 7}\n";
        let plan = checkpoints(&workload(yaml, overrides), World { size: 1 }).expect("a plan");
        assert!(plan.alone().is_none());
        plan.during_training().expect("a run that trains").taken(7, 8).collect::<Vec<_>>()
    };
    assert_eq!(taken(&["train.epochs=2"])[..2], [(1, 9), (2, 9)]);
    assert_eq!(
        taken(&["checkpoint.checkpoint_after_epoch=2", "checkpoint.epochs_between_checkpoints=3"]),
        [(2, 9), (5, 9)]
    );
    assert_eq!(taken(&["checkpoint.steps_between_checkpoints=5"])[..2], [(1, 5), (2, 5)]);
    assert_eq!(taken(&["checkpoint.steps_between_checkpoints=4"])[..3], [(1, 4), (1, 8), (2, 4)]);
    assert_eq!(taken(&["checkpoint.steps_between_checkpoints=0"]), []);
    assert_eq!(taken(&["checkpoint.steps_between_checkpoints=9"]), []);
    assert_eq!(taken(&["checkpoint.checkpoint_after_epoch=0"]), []);
    assert_eq!(taken(&["checkpoint.checkpoint_after_epoch=8"]), []);
}

#[test]
fn pauses_of_a_checkpoint_run_are_those_of_the_reference_or_drawn_per_rank() {
    let pauses = |overrides: &[&str], rank: u32| {
        let plan = plan(2, "{name: m}", overrides);
        plan.alone().expect("no training").pauses(rank).take(4).map(|pause| pause.as_secs_f64()).collect::<Vec<_>>()
    };
    assert_eq!(pauses(&[], 0), [1.0; 4]);
    assert_eq!(pauses(&["checkpoint.time_between_checkpoints=0.5"], 0), [0.5; 4]);
    assert_eq!(pauses(&["++dlio_rs.dialect=native"], 0), [0.0; 4]);
    let drawn = ["++dlio_rs.dialect=native", "checkpoint.time_between_checkpoints={mean: 5, stdev: 1}"];
    assert_eq!(pauses(&drawn, 1), pauses(&drawn, 1));
    assert_ne!(pauses(&drawn, 1), pauses(&drawn, 0));
}

#[test]
fn ranks_load_the_files_of_the_next_node_only_where_the_key_acts() {
    let loaded = |overrides: &[&str], node: u32| {
        let plan = plan(6, "{name: m}", overrides);
        (0..6).map(|rank| plan.loads_files_of(rank, node)).collect::<Vec<_>>()
    };
    let shift = ["checkpoint.recovery_rank_shift=true", "++dlio_rs.dialect=native"];
    assert_eq!(loaded(&shift, 2), [2, 3, 4, 5, 0, 1]);
    assert_eq!(loaded(&shift, 6), [0, 1, 2, 3, 4, 5]);
    assert_eq!(loaded(&shift[..1], 2), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_the_reference_counts_or_ignores_is_told() {
    let told = |size: u32, model: &str, overrides: &[&str]| {
        let notices = plan(size, model, overrides).notices().to_vec();
        notices.into_iter().map(|notice| notice.text).collect::<Vec<_>>().join("\n")
    };
    let quiet = ["checkpoint.time_between_checkpoints=0"];
    assert_eq!(told(2, &small_transformer(4, "{zero_stage: 1}"), &quiet), "");
    assert!(told(2, &small_transformer(4, "{zero_stage: 2}"), &quiet).contains("counts the model on every copy"));
    let native = [quiet[0], "++dlio_rs.dialect=native"];
    assert_eq!(told(2, &small_transformer(4, "{zero_stage: 2}"), &native), "");
    let groups = "{type: transformer, num_layers: 1, layer_parameters: [5], optimization_groups: [5]}";
    assert!(told(1, groups, &quiet).contains("0 bytes, but 20 bytes of tensors"), "{}", told(1, groups, &quiet));
    let shift = ["checkpoint.recovery_rank_shift=true", "checkpoint.fsync=true", "checkpoint.num_checkpoints_read=1"];
    let text = told(2, &small_transformer(4, "{pipeline: 2}"), &shift);
    for part in ["fsync is honoured", "recovery_rank_shift has no effect", "pause of 1 s", "ZeRO stage 0 with pipeline"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(told(1, "{model_size_bytes: 0}", &[]).contains("NOTHING WILL BE WRITTEN"));
    assert!(told(1, "{name: m}", &["checkpoint.num_checkpoints_write=-1"]).contains("NOTHING WILL BE WRITTEN OR READ"));
}

#[test]
fn the_largest_model_is_planned_on_many_thousand_ranks_without_listing_them() {
    let plan = plan(512 * 1000, &format!("{}, type: transformer}}", LLAMA[3].2), &[]);
    assert_eq!(plan.written().files, 512_000 + 2072 - 1024);
    assert_eq!(plan.kinds().len(), 128);
}

#[test]
fn the_fingerprint_follows_what_decides_and_nothing_else() {
    let print = |size: u32, overrides: &[&str]| plan(size, "{name: m}", overrides).fingerprint();
    assert_eq!(print(2, &[]), print(2, &["dataset.num_files_train=9"]));
    assert_ne!(print(2, &[]), print(1, &[]));
    assert_ne!(print(2, &[]), print(2, &["model.model_size_bytes=1"]));
    let plan = plan(1, "{name: m}", &[]);
    assert_ne!(plan.content("global_epoch1_step1", "a"), plan.content("global_epoch1_step2", "a"));
    assert_ne!(plan.content("a", "bc"), plan.content("ab", "c"));
}

#[test]
fn the_summary_and_the_lines_of_json_have_totals_shares_and_files() {
    let plan = llama(2, &[]);
    let text = plan.summary(None);
    for line in ["checkpoints: 1 written, then 0 read, a pause of 1 s before each", "model: 405853388800 parameters"] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for part in ["(756.015 GiB)", "(4536.234 GiB)", "bytes per rank: ", "(8.860 GiB) to ", "(12.318 GiB)"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let written = plan.written();
    assert!(text.contains(&format!("1544 files of {} bytes of tensors (5292.249 GiB)", written.total())), "{text}");
    assert!(text.contains("256 ranks: 1 file, model 0 bytes (0.000 GiB)"), "{text}");
    let lines: Vec<Value> = plan.jsonl(Some(8)).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    let totals = plan.totals(Some(8), None);
    assert_eq!(totals["rank_files"], json!(lines));
    assert_eq!(totals["bytes"], json!(written.total()));
    assert_eq!((&totals["files"], &totals["ranks"], &totals["writes"]), (&json!(1544), &json!(512), &json!(1)));
    let [min, max] = ["rank_bytes_min", "rank_bytes_max"].map(|key| totals[key].as_u64());
    let bytes = || (0..512).map(|rank| plan.rank_bytes(rank));
    assert_eq!((min, max), (bytes().min(), bytes().max()));
    let files: u64 = lines.iter().filter_map(|line| line["bytes"].as_u64()).sum();
    assert_eq!(files, plan.rank_bytes(8));
    assert_eq!(lines[0]["part"], "layers");
    assert_eq!(plan.rank_summary(8).lines().count(), lines.len());
    assert_eq!(plan.jsonl(None).count(), 1544);
}
