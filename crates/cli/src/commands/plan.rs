//! `dlio-rs plan`: prints the reads and checkpoints of every rank without accessing storage.

use std::sync::Arc;

use dlio_config::{Loaded, Workload};
use dlio_event::quantity::counted;
use dlio_plan::{CheckpointPlan, Selection, Split, TrainingPlan, World};

use crate::args::{PlanArgs, PlanFormat};
use crate::meter::Screen;
use crate::terminal;
use dlio_run::failure::{Code, Failure};
use dlio_run::launch::Environment;
use dlio_run::message::Verbosity;
use dlio_run::outputs::meter::Task;
use dlio_run::resolve::setting_sources::SettingSources;
use dlio_run::resolve::{config_source, credentials, resolved_run};
use dlio_run::sizes::Sizes;

pub(super) fn run(args: PlanArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let PlanArgs { config, ranks, rank, epoch, format } = args;
    let env = crate::environment::environment();
    let wanted = config_source::find(&config.words(), None)?;
    let loaded = resolved_run::load(&wanted, &env)?;
    // Errors in the AWS profile are reported here as in a run.
    let places = SettingSources::new(&wanted, wanted.flags.clone(), (&loaded, &loaded), &env)?;
    credentials::source(&loaded.workload, &places)?;
    let planned = Ranks::new(ranks, &env, &loaded.workload);
    let ranks = planned.number;
    if let Some(rank) = rank.filter(|rank| *rank >= ranks) {
        let fitting = if ranks == 1 { "0".to_owned() } else { format!("0 to {}", ranks - 1) };
        return Err(Failure::usage(format_args!(
            "--rank {rank} is not one of {} ({}): give {fitting}, or more with --ranks",
            counted(ranks, "rank"),
            planned.from
        )));
    }
    let shown =
        Screen::stderr(verbosity).map(|screen| screen.begin(Task::counting("Planning", "", 0), &Arc::default()));
    let plans = Plans::new(&loaded.workload, World { size: ranks })?;
    drop(shown);
    let epochs = plans.training.as_ref().map_or(1, TrainingPlan::epochs);
    if let Some(epoch) = epoch.filter(|epoch| *epoch > epochs) {
        return Err(Failure::usage(format_args!("--epoch {epoch}: the workload has {}", counted(epochs, "epoch"))));
    }
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    let selection = Selection { rank, epoch, split: None };
    let written = match format {
        PlanFormat::Json => write_json(out, &plans, &loaded, (&planned, rank)),
        PlanFormat::Jsonl => write_jsonl(out, &plans, selection),
        PlanFormat::Text => {
            let out = terminal::Wrapped::new(out, terminal::columns(&env));
            write_text(out, &plans, (&loaded, &planned), selection)
        }
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Unexpected, format_args!("writing the plan: {error}")))
        }
        _ => Ok(()),
    }
}

/// The number of ranks that is planned for.
struct Ranks {
    number: u32,
    /// The origin of the number.
    from: String,
}

impl Ranks {
    /// Takes the number from the command line, then from the launcher, then from the model's parallelism.
    fn new(given: Option<u32>, env: &Environment, workload: &Workload) -> Self {
        if let Some(number) = given {
            return Self { number, from: "--ranks".to_owned() };
        }
        let started = dlio_run::launch::detect(env).filter(dlio_comm::launcher::Launcher::is_mpi);
        if let Some((launcher, number)) = started.and_then(|launcher| launcher.size.map(|size| (launcher, size))) {
            return Self { number: number.max(1), from: format!("from {}", launcher.name) };
        }
        let model = &workload.model;
        let number = model.tensor_parallelism.saturating_mul(model.pipeline_parallelism);
        if workload.workflow.checkpoint && number > 1 {
            return Self { number, from: "from model.parallelism".to_owned() };
        }
        Self { number: 1, from: "no --ranks, no launcher".to_owned() }
    }
}

/// The plans of a run.
struct Plans {
    /// The training; `None` if the run only takes checkpoints.
    training: Option<TrainingPlan>,
    /// The checkpoints; `None` without `workflow.checkpoint`.
    checkpoints: Option<CheckpointPlan>,
    /// Sizes in bytes and estimated durations.
    sizes: Sizes,
}

impl Plans {
    fn new(workload: &Workload, world: World) -> Result<Self, Failure> {
        let workflow = workload.workflow;
        let reads = workflow.train || !workflow.checkpoint;
        let training = reads.then(|| dlio_plan::training(workload, world)).transpose().map_err(Failure::usage)?;
        let checkpoints = workflow.checkpoint.then(|| dlio_plan::checkpoints(workload, world));
        let checkpoints = checkpoints.transpose().map_err(Failure::usage)?;
        let sizes = Sizes::new(workload, training.as_ref(), checkpoints.as_ref())?;
        Ok(Self { training, checkpoints, sizes })
    }

    /// Returns the number of epochs and the number of steps per epoch.
    fn steps(&self) -> Option<(u32, u64)> {
        self.training.as_ref().map(|plan| (plan.epochs(), plan.steps(Split::Train)))
    }
}

fn write_jsonl(mut out: impl std::io::Write, plans: &Plans, selection: Selection) -> std::io::Result<()> {
    for record in plans.training.iter().flat_map(|plan| dlio_plan::jsonl(plan, selection)) {
        writeln!(out, "{record}")?;
    }
    // The output has lines of one kind only, so that readers of samples meet nothing else.
    let alone = plans.checkpoints.iter().filter(|_| plans.training.is_none());
    for record in alone.flat_map(|plan| plan.jsonl(selection.rank)) {
        writeln!(out, "{record}")?;
    }
    out.flush()
}

fn write_json(
    mut out: impl std::io::Write,
    plans: &Plans,
    loaded: &Loaded,
    (ranks, rank): (&Ranks, Option<u32>),
) -> std::io::Result<()> {
    let training = plans.training.as_ref().map(TrainingPlan::notices).unwrap_or_default();
    let checkpoints = plans.checkpoints.as_ref().map(CheckpointPlan::notices).unwrap_or_default();
    let totals = serde_json::json!({
        // The keys that identify a workload for MLPerf Storage, as `validate` prints them.
        "core_config": loaded.core_config.to_string(),
        "ranks": ranks.number,
        "ranks_from": ranks.from,
        "training": plans.training.as_ref().map(dlio_plan::totals),
        "checkpoint": plans.checkpoints.as_ref().map(|plan| plan.totals(rank, plans.steps())),
        "sizes": plans.sizes.json(),
        "notices": loaded.notices.iter().chain(training).chain(checkpoints).collect::<Vec<_>>(),
    });
    writeln!(out, "{totals:#}")?;
    out.flush()
}

fn write_text(
    mut out: impl std::io::Write,
    plans: &Plans,
    (loaded, ranks): (&Loaded, &Ranks),
    selection: Selection,
) -> std::io::Result<()> {
    writeln!(out, "planned for {} rank(s) ({})", ranks.number, ranks.from)?;
    for notice in &loaded.notices {
        writeln!(out, "note: {}", notice.text)?;
    }
    let workload = &loaded.workload;
    if workload.dlio_rs.dialect.rules().thread_sizing.is_some()
        && plans.training.is_some()
        && workload.reader.read_threads == 1
    {
        writeln!(out, "note: reader.read_threads is 1, for which a run takes a number that follows from its machine")?;
    }
    writeln!(out, "{}", loaded.core_config)?;
    if let Some(plan) = &plans.training {
        write!(out, "{}", dlio_plan::summary(plan))?;
    }
    if let Some(plan) = &plans.checkpoints {
        write!(out, "{}", plan.summary(plans.steps()))?;
    }
    write!(out, "{}", plans.sizes.text())?;
    if let Some(plan) = plans.training.as_ref().filter(|_| selection.rank.is_some() || selection.epoch.is_some()) {
        let ranks = selection.rank.map_or(0..plan.world().size, |rank| rank..rank + 1);
        for rank in ranks {
            let epochs = selection.epoch.map_or(1..plan.epochs() + 1, |epoch| epoch..epoch + 1);
            for epoch in epochs {
                write_rank(&mut out, plan, rank, epoch)?;
            }
        }
    }
    if let Some((plan, rank)) = plans.checkpoints.as_ref().zip(selection.rank) {
        write!(out, "{}", plan.rank_summary(rank))?;
    }
    out.flush()
}

/// Writes the reads of one rank in one epoch, one line per worker.
fn write_rank(out: &mut impl std::io::Write, plan: &TrainingPlan, rank: u32, epoch: u32) -> std::io::Result<()> {
    let splits =
        [Split::Train, Split::Eval].into_iter().filter(|split| *split == Split::Train || plan.evaluates(epoch));
    for split in splits {
        for worker in 0..plan.lanes().max(1) {
            let (mut steps, mut samples) = (0u64, 0u64);
            let mut ends: Option<(u64, u64)> = None;
            for step in plan.lane_steps(rank, split, epoch, worker) {
                steps += 1;
                for sample in step.samples {
                    samples += 1;
                    ends = Some((ends.map_or(sample.file, |(first, _)| first), sample.file));
                }
            }
            let files = ends.map_or_else(String::new, |(first, last)| {
                format!(", from {} to {}", plan.files().name(first), plan.files().name(last))
            });
            let folder = split.folder();
            writeln!(
                out,
                "rank {rank} epoch {epoch} {folder} worker {worker}: {samples} samples in {steps} steps{files}"
            )?;
        }
    }
    Ok(())
}
