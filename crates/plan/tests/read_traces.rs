//! Files that the reader processes of the reference opened and read, compared with the plan.

mod support;

use dlio_plan::{File, FileSet, HandleState, Handles, Split, TrainingPlan, World, training_on};
use serde_json::Value;
use support::{golden, number, workload};

/// The files that were opened (`+t3`) and the samples that were read (`t3.0`) in one split and epoch.
struct Phase {
    split: Split,
    epoch: u32,
    events: Vec<String>,
}

fn phases(plan: &TrainingPlan) -> Vec<(Split, u32)> {
    let epochs = 1..=plan.epochs();
    let phases = epochs.flat_map(|epoch| [(Split::Train, epoch), (Split::Eval, epoch)]);
    phases.filter(|&(split, epoch)| split == Split::Train || plan.evaluates(epoch)).collect()
}

/// Returns what a lane opens and reads in each phase, with its files open as long as the plan says.
fn planned(plan: &TrainingPlan, rank: u32, lane: u32) -> Vec<Phase> {
    let fresh = || HandleState::new(plan.handles(), plan.files().samples_per_file());
    let (mut train, mut eval) = (fresh(), fresh());
    let mut planned = Vec::new();
    for (split, epoch) in phases(plan) {
        let state = if split == Split::Train { &mut train } else { &mut eval };
        if plan.handles() == Handles::PerFile {
            *state = fresh();
        }
        let mut events = Vec::new();
        for read in plan.lane_steps(rank, split, epoch, lane).flat_map(|step| step.samples) {
            let File { split, index, .. } = plan.files().file(read.file);
            let folder = &split.folder()[..1];
            if state.access(read.file).open {
                events.push(format!("+{folder}{index}"));
            }
            events.push(format!("{folder}{index}.{}", read.sample));
        }
        planned.push(Phase { split, epoch, events });
    }
    planned
}

fn recorded(phase: &Value) -> (&str, u32, Vec<String>) {
    let events = phase[2].as_str().expect("events").split_whitespace().map(str::to_owned).collect();
    (phase[0].as_str().expect("a phase name"), number(&phase[1]), events)
}

fn contains_in_order(all: &[String], part: &[String]) -> bool {
    let mut rest = all.iter();
    part.iter().all(|wanted| rest.any(|event| event == wanted))
}

/// Lanes share one process in the tensorflow loader, so the recorded events are an interleaving of those of the lanes.
fn assert_interleaved(name: &str, recorded: &[String], lanes: &[Vec<String>]) {
    for lane in lanes {
        assert!(contains_in_order(recorded, lane), "{name}: {lane:?} is not in order in {recorded:?}");
    }
    let sorted = |events: &[String]| {
        let mut events = events.to_vec();
        events.sort_unstable();
        events
    };
    assert_eq!(sorted(&lanes.concat()), sorted(recorded), "{name}");
}

fn plan_of(case: &Value) -> TrainingPlan {
    let workload = workload(&case["workload"].to_string(), &[]);
    // The runs without generation used a part of a dataset of 16 files.
    let generated = if workload.workflow.generate_data { workload.dataset.num_files_train } else { 16 };
    let files = FileSet::new(&workload).expect("files").generated_as(generated, workload.dataset.num_files_eval);
    training_on(files, &workload, World { size: number(&case["np"]) }).expect("a plan")
}

/// Removes opens that the reader of the format does not cause: with the index sampler, the memory-mapping reader has
/// none.
fn without_opens(case: &Value, events: &[String]) -> Vec<String> {
    let maps = case["workload"]["dataset"]["format"] == "mmap_indexed_binary"
        && case["workload"]["reader"]["data_loader"] == "pytorch";
    events.iter().filter(|event| !(maps && event.starts_with('+'))).cloned().collect()
}

#[test]
fn every_recorded_read_and_open_is_planned_in_its_order_and_nothing_else() {
    let (mut reads, mut processes) = (0, 0);
    for (name, case) in golden(include_str!("golden/read_traces.json")) {
        let plan = plan_of(&case);
        let unseen = matches!(case["workload"]["dataset"]["format"].as_str(), Some("tfrecord"));
        for process in case["procs"].as_array().expect("processes") {
            let rank = number(&process["rank"]);
            let reader = !process["threads"].as_array().expect("threads").is_empty();
            if !reader || unseen {
                continue;
            }
            processes += 1;
            let lanes: Vec<_> = (0..plan.lanes().max(1)).map(|lane| planned(&plan, rank, lane)).collect();
            for phase in process["phases"].as_array().expect("phases") {
                let (kind, epoch, events) = recorded(phase);
                let of_phase = |phase: &&Phase| match kind {
                    "train" => (phase.split, phase.epoch) == (Split::Train, epoch),
                    "eval" => (phase.split, phase.epoch) == (Split::Eval, epoch),
                    // A worker process does not distinguish epochs.
                    _ => true,
                };
                let lanes: Vec<_> = lanes
                    .iter()
                    .map(|lane| {
                        lane.iter()
                            .filter(of_phase)
                            .flat_map(|phase| without_opens(&case, &phase.events))
                            .collect::<Vec<_>>()
                    })
                    .collect();
                if let [lane] = &lanes[..] {
                    assert_eq!(*lane, events, "{name} rank {rank} {kind} {epoch}");
                } else {
                    assert_interleaved(&name, &events, &lanes);
                }
                reads += events.len();
            }
        }
    }
    assert!(processes > 150, "only {processes} processes compared");
    assert!(reads > 8_000, "only {reads} opens and reads compared");
}

#[test]
fn every_recorded_step_count_is_planned() {
    let mut counted = 0;
    for (name, case) in golden(include_str!("golden/read_traces.json")) {
        let plan = plan_of(&case);
        if case["failed"] == true {
            // The reference crashed because trimming left an empty evaluation list; here, the evaluation has no steps.
            assert_eq!(plan.steps(Split::Eval), 0, "{name}");
            continue;
        }
        for (rank, epochs) in case["steps"].as_object().expect("ranks") {
            for (epoch, recorded) in epochs.as_object().expect("epochs") {
                let at = format!("{name} rank {rank} epoch {epoch}");
                let epoch: u32 = epoch.parse().expect("an epoch");
                let evaluated = plan.evaluates(epoch).then(|| plan.steps(Split::Eval));
                assert_eq!(recorded["block1"].as_u64().unwrap_or_default(), plan.steps(Split::Train), "{at}");
                assert_eq!(recorded.get("eval").and_then(Value::as_u64), evaluated, "{at}");
                counted += 1;
            }
        }
    }
    assert!(counted > 200, "only {counted} epochs compared");
}

#[test]
fn recorded_file_names_are_the_planned_ones() {
    for (name, case) in golden(include_str!("golden/read_traces.json")) {
        let plan = plan_of(&case);
        let keys: Vec<_> = (0..plan.files().total()).map(|combined| plan.files().name(combined)).collect();
        for file in case["files"].as_array().expect("files") {
            assert!(keys.iter().any(|key| key == file.as_str().expect("a name")), "{name}: {file} is not planned");
        }
    }
}
