//! `dlio-rs plan`: what every rank would read, without touching storage.

use dlio_plan::{Selection, Split, TrainingPlan, World};

use crate::args::{PlanArgs, PlanFormat};
use crate::exit::{Code, Failure};
use crate::{launch, request, workload};

pub(super) fn run(args: PlanArgs) -> Result<(), Failure> {
    let PlanArgs { config, ranks, rank, epoch, format } = args;
    if let Some(rank) = rank.filter(|rank| *rank >= ranks) {
        return Err(Failure::usage(format_args!("--rank {rank} is not one of {ranks} ranks: give 0 to {}", ranks - 1)));
    }
    let wanted = workload::find(&config, None)?;
    let loaded = request::load(&wanted, &launch::environment())?;
    let plan = dlio_plan::training(&loaded.workload, World { size: ranks }).map_err(Failure::usage)?;
    if let Some(epoch) = epoch.filter(|epoch| *epoch > plan.epochs()) {
        return Err(Failure::usage(format_args!("--epoch {epoch}: the workload has {} epoch(s)", plan.epochs())));
    }
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    let selection = Selection { rank, epoch, split: None };
    let written = match format {
        PlanFormat::Jsonl => write_jsonl(out, &plan, selection),
        PlanFormat::Text => write_text(out, &plan, &loaded, selection),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Unexpected, format_args!("writing the plan: {error}")))
        }
        _ => Ok(()),
    }
}

fn write_jsonl(mut out: impl std::io::Write, plan: &TrainingPlan, selection: Selection) -> std::io::Result<()> {
    for record in dlio_plan::jsonl(plan, selection) {
        writeln!(out, "{record}")?;
    }
    out.flush()
}

fn write_text(
    mut out: impl std::io::Write,
    plan: &TrainingPlan,
    loaded: &dlio_config::Loaded,
    selection: Selection,
) -> std::io::Result<()> {
    for notice in &loaded.notices {
        writeln!(out, "note: {}", notice.text)?;
    }
    write!(out, "{}", dlio_plan::summary(plan))?;
    if selection.rank.is_none() && selection.epoch.is_none() {
        return out.flush();
    }
    let ranks = selection.rank.map_or(0..plan.world().size, |rank| rank..rank + 1);
    for rank in ranks {
        let epochs = selection.epoch.map_or(1..plan.epochs() + 1, |epoch| epoch..epoch + 1);
        for epoch in epochs {
            write_rank(&mut out, plan, rank, epoch)?;
        }
    }
    out.flush()
}

/// What one rank reads in one epoch, a line per worker.
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
                format!(", from {} to {}", plan.files().key(first), plan.files().key(last))
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
