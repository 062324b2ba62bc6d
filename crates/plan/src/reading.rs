//! The reading order and the counts that follow from a workload's loader and sampler.

use std::sync::Arc;

use dlio_config::Workload;
use dlio_config::vocabulary::{DataLoader, Dialect, Format, ReadType, Sampler, Shuffle};

use crate::counts::{Counts, LoaderKind, SplitSteps};
use crate::mlperf::{self, MlperfReading, TORCH_BATCHES};
use crate::order::{
    Batches, FileList, Iterable, Layout, NativeOrder, Order, Share, Shuffles, StreamFiles, Streams, Threads,
};
use crate::{Error, FileSet, Handles, LocalPermutations, PermutationKey, PermutationStore, Purpose, Split, World};

/// Properties of reading that do not depend on rank and epoch.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) kind: LoaderKind,
    pub(crate) dialect: Dialect,
    pub(crate) world: World,
    pub(crate) samples_per_file: u64,
    pub(crate) train: Counts,
    pub(crate) eval: Counts,
    pub(crate) shuffles: Shuffles,
    /// Reading behavior that is specific to the mlperf dialect.
    pub(crate) mlperf: Option<MlperfReading>,
    loader: DataLoader,
    native_shuffles: (Shuffle, Shuffle),
    read_threads: u32,
    prefetch: u32,
    handles: Handles,
    epochs: u32,
    /// Records in the shuffle buffer; see [`Streams`].
    buffered: u64,
}

impl Reading {
    pub(crate) fn new(workload: &Workload, files: &FileSet, world: World) -> Result<Self, Error> {
        let Workload { reader, dataset, train, dlio_rs, .. } = workload;
        if world.size == 0 {
            return Err(Error::EmptyWorld);
        }
        let mut kind = kind(reader.data_loader, reader.sampler, dataset.format)?;
        let mlperf = dlio_rs.dialect == Dialect::Mlperf;
        if mlperf && kind == LoaderKind::Index && reader.data_loader == DataLoader::Pytorch {
            kind = mlperf::kind(workload);
        }
        let counts = |split, batch_size: u64, key| {
            if batch_size == 0 {
                return Err(Error::Zero { key });
            }
            let configured = files.len(split);
            let unit = u128::from(files.samples_per_file()) * u128::from(batch_size);
            let unit = unit.saturating_mul(u128::from(world.size));
            let files_read = match dlio_rs.dialect {
                Dialect::Native => configured,
                Dialect::Mlperf => configured - configured % u64::from(world.size),
                Dialect::Dlio => trimmed(configured, unit),
            };
            Ok(Counts { files: files_read, configured, batch_size, base: files.combined(split, 0) })
        };
        let train_counts = counts(Split::Train, reader.batch_size, "reader.batch_size")?;
        let eval_counts = counts(Split::Eval, reader.batch_size_eval, "reader.batch_size_eval")?;
        let iterative = reader.sampler == Sampler::Iterative;
        let (list_files, list_samples) =
            (iterative && reader.file_shuffle != Shuffle::Off, reader.sample_shuffle != Shuffle::Off);
        let limit = |count: u64, what| u32::try_from(count).map_err(|_| Error::TooManyToShuffle { what, count });
        let lens = if kind == LoaderKind::Iterative && dlio_rs.dialect == Dialect::Dlio && list_files {
            limit(train_counts.files.saturating_add(eval_counts.files), "the training and evaluation files")?;
            (limit(train_counts.files, "the training files")?, limit(eval_counts.files, "the evaluation files")?)
        } else {
            // The lists are not requested in this case. Only their lengths matter, because they determine the draws of
            // the shuffles.
            (saturated(train_counts.files), saturated(eval_counts.files))
        };
        let lists: Arc<dyn PermutationStore> = Arc::new(LocalPermutations::default());
        let mlperf = mlperf.then(|| MlperfReading::new(workload, (kind, world), [&train_counts, &eval_counts], &lists));
        let mlperf = mlperf.transpose()?;
        let seed = (train.seed, train.seed_change_epoch);
        let reading = Self {
            kind,
            mlperf,
            dialect: dlio_rs.dialect,
            world,
            samples_per_file: files.samples_per_file(),
            train: train_counts,
            eval: eval_counts,
            shuffles: Shuffles::new(seed, list_files, list_samples, lens, lists),
            loader: reader.data_loader,
            native_shuffles: (reader.file_shuffle, reader.sample_shuffle),
            read_threads: reader.read_threads,
            prefetch: reader.prefetch_size,
            handles: handles(kind, reader.read_type, dataset.format),
            epochs: train.epochs,
            // In the native dialect, a shuffle permutes the whole order, without a buffer.
            buffered: if list_samples && dlio_rs.dialect != Dialect::Native {
                reader.shuffle_size.saturating_sub(1)
            } else {
                0
            },
        };
        reading.check(workload.workflow.evaluation)?;
        Ok(reading)
    }

    /// Returns the reading of untrimmed lists with the shares of the reference.
    pub(crate) fn untrimmed(workload: &Workload, files: &FileSet, world: World) -> Result<Self, Error> {
        let mut reading = Self::new(workload, files, world)?;
        for counts in [&mut reading.train, &mut reading.eval] {
            counts.files = counts.configured;
        }
        (reading.dialect, reading.mlperf) = (Dialect::Dlio, None);
        reading.shuffles.files = (saturated(reading.train.files), saturated(reading.eval.files));
        Ok(reading)
    }

    /// Returns the same reading with another storage of its lists.
    pub(crate) fn with_lists(mut self, lists: &Arc<dyn PermutationStore>) -> Self {
        self.shuffles.lists = Arc::clone(lists);
        if let Some(mlperf) = &mut self.mlperf {
            mlperf.shards.lists = Arc::clone(lists);
        }
        self
    }

    /// Returns the lists that reading a split in the order of an epoch requires.
    pub(crate) fn lists(&self, split: Split) -> Vec<PermutationKey> {
        if self.counts(split).files == 0 {
            return Vec::new();
        }
        match (&self.mlperf, self.kind, self.dialect) {
            (Some(mlperf), ..) => mlperf.shards.of(split).into_iter().collect(),
            (None, LoaderKind::Iterative, Dialect::Dlio) => {
                // After trimming, all ranks have the same number of samples, so rank 0 is representative.
                let samples = self.shuffles.samples(saturated(self.share(0, split).1));
                self.shuffles.files().into_iter().chain(samples).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Computes a list of an epoch if it is not stored.
    pub(crate) fn make_list(&self, list: PermutationKey, epoch: u32) {
        match (list.purpose, &self.mlperf) {
            (Purpose::Files, _) => drop(self.shuffles.file_numbers(list, epoch)),
            (Purpose::Samples, _) => drop(self.shuffles.sample_numbers(list, epoch)),
            (Purpose::TrainShards | Purpose::EvalShards, Some(mlperf)) => drop(mlperf.shards.numbers(list, epoch)),
            (Purpose::TrainShards | Purpose::EvalShards, None) => {}
        }
    }

    fn check(&self, evaluation: bool) -> Result<(), Error> {
        if self.kind != LoaderKind::Iterative || self.dialect == Dialect::Native {
            return Ok(());
        }
        for split in [Split::Train, Split::Eval] {
            let samples = self.samples(split).div_ceil(u64::from(self.world.size));
            let threads = u64::from(self.lanes());
            let read = split == Split::Train || evaluation;
            if read && samples > 0 && threads > samples {
                return Err(Error::MoreThreadsThanSamples { threads, samples, folder: split.folder() });
            }
            if self.shuffles.shuffle_samples && u32::try_from(samples).is_err() {
                return Err(Error::TooManyToShuffle { what: "the samples of a rank", count: samples });
            }
        }
        Ok(())
    }

    /// Returns the steps of a split.
    pub(crate) fn steps(&self, workload: &Workload, split: Split) -> Result<SplitSteps, Error> {
        let counts = self.counts(split);
        let per_step = counts.batch_size.saturating_mul(u64::from(self.world.size));
        let configured = counts.configured * self.samples_per_file / per_step;
        let limit = workload.train.total_training_steps.filter(|_| split == Split::Train);
        if let Some(wanted) = limit.filter(|&wanted| wanted > configured) {
            return Err(Error::TooFewSteps { available: configured, wanted });
        }
        let mut full = self.full(split);
        if split == Split::Train && !workload.workflow.train {
            full = 0;
        }
        if self.loader == DataLoader::Synthetic && self.dialect == Dialect::Dlio {
            // The loader counts the batches of the whole world rather than of the rank, and stops one batch early.
            full = full.min((self.samples(split) / counts.batch_size).saturating_sub(1));
        }
        let run = limit.map_or(full, |limit| limit.min(full));
        // After trimming, all ranks have the same number of samples, so rank 0 is representative.
        let native = self.dialect == Dialect::Native;
        let left = if native || run == 0 { 0 } else { self.available(split).saturating_sub(run) };
        // The training loop fetches one batch before it notices that it has finished. Without a limit, the generators
        // of tf.data run ahead, and each has read its last, padded batch by then.
        let ahead = if self.kind == LoaderKind::Iterative && run == full { left } else { left.min(1) };
        Ok(SplitSteps { configured, full, run, ahead })
    }

    /// Returns the number of steps that the files allow.
    fn full(&self, split: Split) -> u64 {
        let counts = self.counts(split);
        match (&self.mlperf, self.kind) {
            (Some(mlperf), LoaderKind::Iterable) => self.shape(mlperf, split).complete(),
            (Some(_), LoaderKind::Iterative) => Order::Threads(self.sorted_threads(0, split)).available(),
            _ => counts.files * self.samples_per_file / counts.batch_size.saturating_mul(u64::from(self.world.size)),
        }
    }

    /// Returns the number of batches that the loader of rank 0 would deliver in an epoch without a limit. Does not
    /// compute a shuffled order.
    fn available(&self, split: Split) -> u64 {
        match (self.kind, &self.mlperf, self.dialect) {
            (LoaderKind::Blank, ..) => 0,
            (LoaderKind::Iterable, Some(mlperf), _) => Order::Iterable(self.shape(mlperf, split)).available(),
            (LoaderKind::Iterative, _, Dialect::Dlio | Dialect::Mlperf) => {
                Order::Threads(self.sorted_threads(0, split)).available()
            }
            (_, Some(_), _) => self.full(split),
            _ => self.order(0, split, 1).available(),
        }
    }

    /// Returns the number of samples of a split, in the files that are read.
    pub(crate) fn samples(&self, split: Split) -> u64 {
        self.counts(split).files * self.samples_per_file
    }

    pub(crate) fn counts(&self, split: Split) -> &Counts {
        match split {
            Split::Train => &self.train,
            Split::Eval => &self.eval,
        }
    }

    pub(crate) fn batch_size(&self, split: Split) -> u64 {
        self.counts(split).batch_size
    }

    pub(crate) fn loader(&self) -> DataLoader {
        self.loader
    }

    pub(crate) fn handles(&self) -> Handles {
        self.handles
    }

    pub(crate) fn lanes(&self) -> u32 {
        match self.kind {
            LoaderKind::Index | LoaderKind::Blank if self.loader != DataLoader::Tensorflow => self.read_threads,
            // tf.data always has a lane. An iterable dataset reads ahead while the loop computes in any case.
            _ => self.read_threads.max(1),
        }
    }

    /// See [`crate::TrainingPlan::window`].
    pub(crate) fn window(&self) -> u32 {
        let per_lane = self.prefetch.div_ceil(self.lanes().max(1));
        match self.loader {
            _ if self.lanes() == 0 => 1,
            _ if self.kind == LoaderKind::Iterable => TORCH_BATCHES.min(self.read_threads.saturating_add(1)),
            // The prefetch_factor of torch. Torch refuses 0, and the reference then keeps the default.
            DataLoader::Pytorch => {
                if per_lane == 0 {
                    2
                } else {
                    per_lane
                }
            }
            // All streams form one pipeline, which may be `prefetch_size` batches ahead of the batch that is being
            // assembled.
            DataLoader::Tensorflow if self.kind == LoaderKind::Streams => self.prefetch + 1,
            // In addition to the prefetched batches, the interleave of tf.data holds one finished and one unfinished
            // batch per thread.
            DataLoader::Tensorflow => per_lane + 2,
            _ => {
                if self.prefetch == 0 {
                    2_u32.div_ceil(self.lanes())
                } else {
                    per_lane
                }
            }
        }
    }

    /// Returns the reading order of one rank.
    pub(crate) fn order(&self, rank: u32, split: Split, epoch: u32) -> Order {
        match (self.kind, self.dialect) {
            (LoaderKind::Iterable, _) if let Some(mlperf) = &self.mlperf => {
                Order::Iterable(self.iterable(mlperf, rank, split, epoch))
            }
            (LoaderKind::Iterative, Dialect::Dlio | Dialect::Mlperf) => {
                Order::Threads(self.threads(rank, split, epoch))
            }
            (LoaderKind::Streams, _) => {
                let mut streams = self.streams(rank, split, epoch);
                if let Some(mlperf) = &self.mlperf {
                    // The files of a stream are sorted by name, regardless of the order of the list.
                    let list = mlperf.shards.list(rank, split, epoch).sorted(streams.share.full);
                    streams.files = StreamFiles::List(list);
                }
                Order::Streams(streams)
            }
            _ => Order::Batches(self.batches(rank, split, epoch)),
        }
    }

    /// Returns the lanes that read a part of a batch. Shuffles do not move batches between lanes.
    pub(crate) fn contributors(&self, rank: u32, split: Split, epoch: u32, batch: u64) -> Vec<u32> {
        match (self.kind, self.dialect) {
            (LoaderKind::Iterable, _) if let Some(mlperf) = &self.mlperf => {
                Order::Iterable(self.shape(mlperf, split)).contributors(batch)
            }
            (LoaderKind::Iterative, Dialect::Dlio | Dialect::Mlperf) => {
                Order::Threads(self.sorted_threads(rank, split)).contributors(batch)
            }
            (LoaderKind::Streams, _) => Order::Streams(self.streams(rank, split, epoch)).contributors(batch),
            // Lanes take whole batches in turn, so the files do not matter.
            _ if self.mlperf.is_some() => {
                vec![u32::try_from(batch % u64::from(self.lanes().max(1))).unwrap_or_default()]
            }
            _ => self.order(rank, split, epoch).contributors(batch),
        }
    }

    /// Returns the streams of an iterable dataset.
    pub(crate) fn iterable(&self, mlperf: &MlperfReading, rank: u32, split: Split, epoch: u32) -> Iterable {
        Iterable { list: mlperf.shards.list(rank, split, epoch), ..self.shape(mlperf, split) }
    }

    /// Returns the streams without their list of files, for values that depend only on the number of files.
    pub(crate) fn shape(&self, mlperf: &MlperfReading, split: Split) -> Iterable {
        let counts = self.counts(split);
        Iterable {
            order: self.global(split, 1),
            list: FileList::ALL,
            files: counts.files / u64::from(self.world.size),
            samples_per_file: self.samples_per_file,
            batch_size: counts.batch_size,
            lanes: self.lanes(),
            piece: mlperf.piece,
        }
    }

    fn batches(&self, rank: u32, split: Split, epoch: u32) -> Batches {
        let counts = self.counts(split);
        let (start, samples) = self.share(rank, split);
        let native = self.dialect == Dialect::Native;
        Batches {
            order: (self.kind != LoaderKind::Blank).then(|| self.global(split, epoch)),
            list: self.mlperf.as_ref().map(|mlperf| mlperf.shards.list(rank, split, epoch)),
            start,
            count: samples / counts.batch_size,
            batch_size: counts.batch_size,
            lanes: self.lanes().max(1),
            layout: if native && self.kind == LoaderKind::Iterative { Layout::Contiguous } else { Layout::Dealt },
        }
    }

    pub(crate) fn global(&self, split: Split, epoch: u32) -> NativeOrder {
        let counts = self.counts(split);
        let ascending = NativeOrder::ascending(counts.base, self.samples_per_file);
        if self.dialect != Dialect::Native {
            return ascending;
        }
        let epoch = if self.shuffles.change { epoch } else { 0 };
        ascending.shuffled(counts.files, self.native_shuffles, self.shuffles.seed, (split, epoch))
    }

    /// Returns the first sample and the number of samples of a rank in the global order.
    pub(crate) fn share(&self, rank: u32, split: Split) -> (u64, u64) {
        let (samples, size, rank) = (self.samples(split), u64::from(self.world.size), u64::from(rank));
        if self.mlperf.is_some() {
            // The position is relative to the rank's own list.
            return (0, samples / size);
        }
        if self.dialect == Dialect::Native {
            let batch_size = self.counts(split).batch_size;
            let share = samples / batch_size.saturating_mul(size) * batch_size;
            return (rank * share, share);
        }
        let share = samples.div_ceil(size);
        let start = (rank * share).min(samples);
        (start, share.min(samples - start))
    }

    pub(crate) fn threads(&self, rank: u32, split: Split, epoch: u32) -> Threads {
        let threads = self.sorted_threads(rank, split);
        if let Some(mlperf) = &self.mlperf {
            return Threads { list: mlperf.shards.list(rank, split, epoch), ..threads };
        }
        let sample_order = self.shuffles.sample_order(saturated(threads.samples), epoch);
        let list = self.shuffles.file_order(split, epoch);
        Threads { list, sample_order, ..threads }
    }

    /// Returns the entries of the reader threads before any shuffle.
    pub(crate) fn sorted_threads(&self, rank: u32, split: Split) -> Threads {
        let counts = self.counts(split);
        let (start, samples) = self.share(rank, split);
        let (size, threads) = (u64::from(self.world.size), self.lanes());
        let run = self.samples(split).div_ceil(size) / u64::from(threads);
        let files_per_rank = (counts.files / size).checked_rem(counts.files).unwrap_or_default();
        let mlperf = self.mlperf.is_some();
        let (files, first_file) =
            if mlperf { (counts.files / size, 0) } else { (counts.files, u64::from(rank) * files_per_rank) };
        Threads {
            base: counts.base,
            start,
            samples,
            run: run.max(1),
            lanes: threads,
            batch_size: counts.batch_size,
            samples_per_file: self.samples_per_file,
            files: files.max(1),
            first_file,
            list: FileList::ALL,
            mlperf,
            sample_order: None,
        }
    }

    fn streams(&self, rank: u32, split: Split, epoch: u32) -> Streams {
        let (counts, records, size) = (self.counts(split), self.samples_per_file, u64::from(self.world.size));
        let (files, share, passes) = if self.dialect == Dialect::Native {
            let (start, samples) = self.share(rank, split);
            let head_sample = start % records;
            let head = if head_sample == 0 { 0 } else { samples.min(records - head_sample) };
            let rest = samples - head;
            let share = Share { head, head_sample, full: rest / records, tail: rest % records };
            (StreamFiles::From(start / records), share, 1)
        } else {
            // After trimming, the number of files is a multiple of the number of ranks, so there are never fewer files
            // than ranks (record shards).
            let share = Share { head: 0, head_sample: 0, full: counts.files / size, tail: 0 };
            let sharded = FileList::Strided { first: u64::from(rank), step: size };
            // The fork shards the files of the rank a second time and repeats the remainder; this is not copied.
            let passes = if self.mlperf.is_some() { 1 } else { u64::from(self.epochs) };
            (StreamFiles::List(sharded), share, passes)
        };
        Streams {
            order: self.global(split, epoch),
            files,
            share,
            samples_per_file: records,
            batch_size: counts.batch_size,
            lanes: self.lanes(),
            passes,
            buffered: self.buffered,
        }
    }
}

/// Trims a number of files as the reference does (quirk 12): rounds it down to a multiple of a number of samples.
fn trimmed(files: u64, unit: u128) -> u64 {
    let kept = u128::from(files) / unit * unit;
    u64::try_from(kept).unwrap_or(files)
}

fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn kind(loader: DataLoader, sampler: Sampler, format: Format) -> Result<LoaderKind, Error> {
    let needs = |expected: Sampler, kind: LoaderKind| {
        if sampler == expected { Ok(kind) } else { Err(Error::LoaderSampler { loader, sampler, expected }) }
    };
    let kind = match loader {
        DataLoader::Pytorch | DataLoader::Dali => needs(Sampler::Index, LoaderKind::Index)?,
        DataLoader::NativeDali => LoaderKind::Index,
        DataLoader::Tensorflow if format == Format::TfRecord => LoaderKind::Streams,
        DataLoader::Tensorflow => needs(Sampler::Iterative, LoaderKind::Iterative)?,
        DataLoader::Synthetic => LoaderKind::Blank,
        DataLoader::Custom | DataLoader::None => return Err(Error::Loader { loader }),
    };
    Ok(if format == Format::Synthetic { LoaderKind::Blank } else { kind })
}

fn handles(kind: LoaderKind, read_type: ReadType, format: Format) -> Handles {
    match kind {
        LoaderKind::Iterative | LoaderKind::Streams => Handles::PerFile,
        // The memory-mapping reader maps every file when it is created, and ignores `read_type`.
        LoaderKind::Index if format == Format::MmapIndexedBinary => Handles::Cached,
        // A row group serves all of its rows, and a footer serves all epochs, only as long as the file stays open.
        LoaderKind::Index | LoaderKind::Iterable if format == Format::Parquet => Handles::Cached,
        LoaderKind::Index | LoaderKind::Iterable | LoaderKind::Blank => match read_type {
            ReadType::OnDemand => Handles::PerSample,
            ReadType::Memory => Handles::Cached,
        },
    }
}
