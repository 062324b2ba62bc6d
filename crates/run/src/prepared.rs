//! What a run is made of: the data set and its layout, the plan of the training, the checkpoints.

use dlio_config::Workload;
use dlio_config::vocabulary::ShapeMismatch;
use dlio_event::Planned;
use dlio_event::quantity::counted;
use dlio_format::{Decode, FileShape, Layout};
use dlio_plan::{CheckpointPlan, FileSet, Split, TrainingPlan, World};

use crate::checkpoints;
use crate::dataset::discover::Discovered;
use crate::execute::Work;
use crate::failure::Failure;
use crate::session::Session;

/// What follows from the configuration alone.
pub struct Prepared {
    /// The data set; a run that only takes checkpoints has none.
    pub data: Option<DataSet>,
    /// The training.
    pub plan: Option<TrainingPlan>,
    /// The checkpoints.
    pub checkpoints: Option<checkpoints::Prepared>,
}

/// Which files there are, and what is in them.
pub struct DataSet {
    pub files: FileSet,
    pub layout: Layout,
    /// Splits of which all files are known to be there.
    pub present: Vec<Split>,
}

impl Prepared {
    pub fn new(session: &Session, work: Work) -> Result<Self, Failure> {
        let workload = &session.loaded.workload;
        let data = (work.generate || work.train || work.verify).then(|| DataSet::new(workload, work)).transpose()?;
        let world = World { size: session.comm.place().size };
        let plan = work.train.then(|| dlio_plan::training(workload, world)).transpose().map_err(Failure::usage)?;
        let checkpoints = work.checkpoint.then(|| checkpoints::Prepared::new(session)).transpose()?;
        Ok(Self { data, plan, checkpoints })
    }

    /// Reads these files instead of those that the configuration names.
    pub fn adopt(&mut self, session: &Session, found: Discovered) -> Result<(), Failure> {
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

    /// Why the training would have no step; `None`: it has some, or nothing is trained.
    pub fn empty(&self, session: &Session) -> Option<Failure> {
        let mut failure = self.plan.as_ref().and_then(|plan| no_steps(plan, &session.loaded.workload))?;
        // The reference has no such flag.
        if !session.as_reference() {
            failure.message.push_str(" (--allow-empty: run all the same)");
        }
        Some(failure)
    }

    /// How much is to be done.
    pub fn planned(&self, work: Work) -> Planned {
        let files = self.data.as_ref().filter(|_| work.generate || work.verify).map_or(0, |data| data.files.total());
        let trained = self.plan.as_ref().map(|plan| (plan.epochs(), plan.steps(Split::Train)));
        let alone = self.checkpoint_plan().filter(|_| trained.is_none()).and_then(CheckpointPlan::alone);
        let (epochs, steps) = trained.unwrap_or_default();
        let (checkpoints_saved, checkpoints_loaded) = alone.map_or((0, 0), |alone| (alone.writes, alone.reads));
        Planned { epochs, steps, files, checkpoints_saved, checkpoints_loaded, operations: 0 }
    }

    /// The plan of the checkpoints.
    pub fn checkpoint_plan(&self) -> Option<&CheckpointPlan> {
        self.checkpoints.as_ref().map(|prepared| &prepared.checkpoints.plan)
    }
}

impl DataSet {
    fn new(workload: &Workload, work: Work) -> Result<Self, Failure> {
        let layout = layout(workload)?;
        if work.verify {
            layout.allows(Decode::Verify).map_err(Failure::usage)?;
        }
        if work.train {
            layout.allows(workload.dlio_rs.decode).map_err(Failure::usage)?;
        }
        let files = FileSet::new(workload).map_err(Failure::usage)?;
        Ok(Self { files, layout, present: Vec::new() })
    }

    /// Bytes of the first file, its index included, where they follow from its shape; 0: nobody knows.
    pub fn bytes_of_first(&self) -> u64 {
        if self.files.total() == 0 || self.files.is_listed() || !self.layout.length_follows_from_shape() {
            return 0;
        }
        let file = self.files.file(0);
        let shape = FileShape { file: 0, dims: &file.dims, samples: file.samples };
        let indexes: u64 = self.layout.index_encoders(&shape).iter().map(|(_, index)| index.len()).sum();
        self.layout.encoder(&shape).map_or(0, |encoder| encoder.len() + indexes)
    }
}

/// What is in the files of a workload, and how they are read.
///
/// # Errors
/// When there is no such file.
pub fn layout(workload: &Workload) -> Result<Layout, Failure> {
    let layout = Layout::new(&workload.dataset, workload.dlio_rs.payload_seed)
        .map_err(Failure::usage)?
        .with_reading(workload)
        .with_dialect(workload.dlio_rs.dialect);
    let layout = match workload.dlio_rs.shape_mismatch {
        ShapeMismatch::Warn => layout.noting_mismatches(),
        ShapeMismatch::Error => layout,
    };
    let rules = workload.dlio_rs.dialect.rules();
    let layout = if rules.leaves_mapped_samples_untouched { layout.with_untouched_maps() } else { layout };
    let like_numpy = rules.reads_like_numpy && !workload.reader.odirect;
    Ok(if like_numpy { layout.with_numpy_reads() } else { layout })
}

/// Why a training has no step to train; `None`: it has some.
pub fn no_steps(plan: &TrainingPlan, workload: &Workload) -> Option<Failure> {
    if plan.epochs() > 0 && plan.steps(Split::Train) > 0 {
        return None;
    }
    let ranks = plan.world().size;
    let (files, samples) = (workload.dataset.num_files_train, workload.dataset.num_samples_per_file);
    let batch = plan.batch_size(Split::Train);
    // The plan knows why a reference's arithmetic leaves nothing of files that would do otherwise.
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
