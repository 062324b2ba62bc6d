//! Derives a workload from traces.

use dlio_event::S3Uri;
use dlio_trace::{Error, RankTrace};

use super::candidates::{self, Nearest};
use super::checkpoints::CheckpointSchedule;
use super::distribution::{self, Compute};
use super::predictor::{Load, WorkloadPredictor};
use super::profile::TraceProfile;
use super::speed::{rest, similarity};
use super::workload::{Fit, Training};

/// Derives a workload from traces. Returns `None` if they neither read objects as a workload can nor save or load a
/// checkpoint.
///
/// # Errors
/// Returns an error if a trace cannot be read.
pub fn fit(traces: &[RankTrace], predictor: &dyn WorkloadPredictor) -> Result<Option<Fit>, Error> {
    let profile = TraceProfile::of(traces)?;
    let fit = if profile.objects.is_empty() { checkpoints_only(&profile) } else { train(&profile, predictor) };
    Ok(fit.map(|mut fit| {
        fit.compare_checkpoints(&profile, predictor);
        fit
    }))
}

/// Returns a workload that only saves and loads checkpoints.
fn checkpoints_only(profile: &TraceProfile) -> Option<Fit> {
    let mut notes = profile.notes.clone();
    let checkpoints = profile.checkpoints.without_training(profile.ranks, &mut notes)?;
    let uri = profile.checkpoints.object.as_deref().and_then(S3Uri::parse);
    let bucket = uri.map(|uri| uri.bucket.to_owned());
    let base = Fit::bare(profile.ranks, bucket, notes);
    Some(Fit { checkpoints: Some(checkpoints), ..base })
}

fn train(profile: &TraceProfile, predictor: &dyn WorkloadPredictor) -> Option<Fit> {
    let mut fit = Fit::bare(profile.ranks, profile.bucket.clone(), profile.notes.clone());
    let Nearest { mut training, candidate, load } = candidates::nearest(profile, &fit, predictor)?;
    if profile.compute.is_empty() {
        training.compute = Compute::Constant(rest(profile, &training, &candidate, load));
    }
    fit.similarity = similarity(profile, &training, &candidate, load);
    let sizes: Vec<f64> = profile.objects.iter().map(|object| object.size as f64).collect();
    let (mean, stdev) = distribution::moments(&sizes);
    let far = if training.record_length_stdev > 0.0 {
        distribution::distance(&sizes, |x| distribution::normal_cdf(x, mean, stdev))
    } else {
        distribution::distance_to_point(&sizes, mean)
    };
    fit.distances.push(("sizes of files", far));
    if !profile.compute.is_empty() {
        fit.distances.push(("times of computation", training.compute.distance(&profile.compute)));
    }
    let last_epoch = u32::try_from(training.epochs).unwrap_or(u32::MAX);
    fit.checkpoints = profile.checkpoints.in_training((last_epoch, profile.steps_seen), profile.ranks, &mut fit.notes);
    fit.note_guesses(profile, &training, load);
    fit.training = Some(training);
    Some(fit)
}

impl Fit {
    fn note_guesses(&mut self, profile: &TraceProfile, training: &Training, load: Load) {
        let notes = &mut self.notes;
        if !profile.spans {
            let whole =
                if training.samples_per_file > 1 { "each read of a piece" } else { "each reading of an object" };
            notes.push(format!("the trace has no spans of samples: {whole} counts as one"));
        }
        if profile.compute.is_empty() {
            let mean = training.compute.mean();
            notes.push(format!("the trace has no spans of computation: {mean:.6} s per step reproduce its rate"));
        }
        let format = training.format;
        match profile.format() {
            Err(suffix) => {
                notes.push(format!("file names do not reveal the format (.{suffix}); {format} matches the reads best"));
            }
            Ok(named) if named != format => {
                notes.push(format!("file names suggest {named}, but {format} matches the reads better"));
            }
            Ok(_) => {}
        }
        let (objects, files) = (profile.objects.len() as u64, training.files);
        if objects < files && profile.files_of_names() == Some(files) {
            notes.push(format!("{objects} of {files} files, according to their names, were read"));
        } else if objects < files {
            notes.push(format!("{objects} object(s) were read by several ranks; here there are {files}, one for each"));
        }
        let recorded = profile.bytes as f64;
        if (load.bytes - recorded).abs() > recorded / 10.0 {
            notes.push(format!("the trace reads {recorded:.0} bytes, this workload {:.0}", load.bytes));
        }
        notes.push("not derived: the order of the samples (shuffling)".to_owned());
    }

    fn compare_checkpoints(&mut self, profile: &TraceProfile, predictor: &dyn WorkloadPredictor) {
        let Some(checkpoints) = &self.checkpoints else { return };
        let Some((files, bytes)) = predictor.checkpoint(&self.yaml()) else { return };
        let (recorded_files, recorded_bytes) = profile.checkpoints.recorded();
        if let CheckpointSchedule::WithoutTraining { writes, reads, .. } = checkpoints.schedule {
            let (saved, loaded) = profile.checkpoints.counts();
            self.similarity.push(("checkpoints saved", saved as f64, writes as f64));
            self.similarity.push(("checkpoints loaded", loaded as f64, reads as f64));
        }
        self.similarity.push(("files of a checkpoint and rank that saves", recorded_files, files));
        self.similarity.push(("bytes of a checkpoint and rank that saves", recorded_bytes, bytes));
    }
}
