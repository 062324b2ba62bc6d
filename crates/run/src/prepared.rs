//! Parts of a run that follow from its configuration: the dataset and its layout, the training plan, the checkpoints.

use dlio_config::Workload;
use dlio_event::Planned;
use dlio_event::quantity::counted;
use dlio_plan::{CheckpointPlan, Split, TrainingPlan, World};

use crate::checkpoints;
use crate::dataset::discover::Discovered;
use crate::dataset::files::DataSet;
use crate::failure::Failure;
use crate::session::Session;
use crate::work::Work;

/// Plans of a run.
pub struct Prepared {
    /// The dataset; `None` in a run that only takes checkpoints.
    pub data: Option<DataSet>,
    /// The training plan; `None` if the run does not train.
    pub plan: Option<TrainingPlan>,
    /// The checkpoints; `None` if the run takes none.
    pub(crate) checkpoints: Option<checkpoints::Prepared>,
}

impl Prepared {
    pub(crate) fn new(session: &Session, work: Work) -> Result<Self, Failure> {
        let workload = &session.loaded.workload;
        let data = (work.generate || work.train || work.verify).then(|| DataSet::new(workload, work)).transpose()?;
        let world = World { size: session.comm.place().size };
        let plan = work.train.then(|| dlio_plan::training(workload, world)).transpose().map_err(Failure::usage)?;
        let checkpoints = work.checkpoint.then(|| checkpoints::Prepared::new(session)).transpose()?;
        Ok(Self { data, plan, checkpoints })
    }

    /// Replaces the computed files with the files that were found.
    pub(crate) fn adopt(&mut self, session: &Session, found: Discovered) -> Result<(), Failure> {
        let Discovered { files, present } = found;
        let (workload, world) = (&session.loaded.workload, World { size: session.comm.place().size });
        if self.plan.is_some() {
            self.plan = Some(dlio_plan::training_on(files.clone(), workload, world).map_err(Failure::usage)?);
        }
        if let Some(data) = &mut self.data {
            if files.is_listed() {
                data.layout = data.layout.clone().as_found();
            }
            (data.files, data.present) = (files, present);
        }
        Ok(())
    }

    /// Returns the failure of a training without steps; `None` if it has steps or nothing is trained.
    pub(crate) fn empty(&self, session: &Session) -> Option<Failure> {
        let mut failure = self.plan.as_ref().and_then(|plan| no_steps(plan, &session.loaded.workload))?;
        // `dlio_benchmark` has no such option.
        if !session.as_reference() {
            failure.message.push_str(" (--allow-empty: run all the same)");
        }
        Some(failure)
    }

    /// Returns the amounts of work, for the header of the trace.
    pub(crate) fn planned(&self, work: Work) -> Planned {
        let files = self.data.as_ref().filter(|_| work.generate || work.verify).map_or(0, |data| data.files.total());
        let trained = self.plan.as_ref().map(|plan| (plan.epochs(), plan.steps(Split::Train)));
        let alone = self.checkpoint_plan().filter(|_| trained.is_none()).and_then(CheckpointPlan::alone);
        let (epochs, steps) = trained.unwrap_or_default();
        let (checkpoints_saved, checkpoints_loaded) = alone.map_or((0, 0), |alone| (alone.writes, alone.reads));
        Planned { epochs, steps, files, checkpoints_saved, checkpoints_loaded, operations: 0 }
    }

    /// The checkpoint plan; `None` if the run takes no checkpoints.
    #[must_use]
    pub fn checkpoint_plan(&self) -> Option<&CheckpointPlan> {
        self.checkpoints.as_ref().map(|prepared| &prepared.checkpoints.plan)
    }
}

/// Returns the failure of a training without steps; `None` if it has steps.
#[must_use]
pub fn no_steps(plan: &TrainingPlan, workload: &Workload) -> Option<Failure> {
    if plan.epochs() > 0 && plan.steps(Split::Train) > 0 {
        return None;
    }
    let ranks = plan.world().size;
    let (files, samples) = (workload.dataset.num_files_train, workload.dataset.num_samples_per_file);
    let batch = plan.batch_size(Split::Train);
    // The plan's notices explain cases in which DLIO's or the fork's arithmetic leaves no steps although there are
    // enough files.
    let nothing = plan.notices().iter().filter_map(|notice| notice.text.strip_prefix("NOTHING WILL BE READ for "));
    let told = nothing.into_iter().find(|told| told.starts_with("training") || told.starts_with("`train`"));
    let why = if plan.epochs() == 0 {
        "train.epochs is 0".to_owned()
    } else if let Some((_, told)) = told.and_then(|told| told.split_once(": ")) {
        told.to_owned()
    } else {
        format!(
            "{} × {} ÷ batch size {batch} ÷ {} is less than one step: more files or samples, \
                 a smaller reader.batch_size, or fewer ranks are needed",
            counted(files, "file"),
            counted(samples, "sample"),
            counted(ranks, "rank")
        )
    };
    Some(Failure::usage(format_args!("the training has no steps: {why}")))
}
