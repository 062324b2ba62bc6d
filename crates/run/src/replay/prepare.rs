//! Creates the objects that a replayed trace reads, with their recorded sizes.

use std::time::Duration;

use dlio_engine::ReplayOptions;
use dlio_plan::replay::{Late, ReplayKind, ReplayOp, RequiredObject, Timing};
use dlio_storage::ErrorKind;
use futures::{StreamExt, TryStreamExt};

use crate::backend::{Opened, Target};
use crate::collective::gather;
use crate::failure::of_engine;
use crate::failure::{Code, Failure};
use crate::outputs::meter::Task;
use crate::outputs::progress::ProgressReporter;
use crate::replay::job::{Job, plan_failure, rig, rows};
use crate::session::Session;
use crate::space::{self, FileSystem, Need};

/// Number of concurrent writers per rank.
const PREPARING: u32 = 8;

/// Number of concurrent lookups per rank.
const LOOKING: usize = 64;

/// State of a rank's share of the objects.
#[derive(Default)]
struct ObjectSurvey {
    missing: Vec<(String, u64)>,
    /// Missing folders.
    folders: Vec<String>,
    /// Objects of another size, to be replaced by objects of the recorded size.
    other: Vec<(String, u64)>,
    /// Number of objects of another size that are left as they are.
    left: u64,
    example: Option<String>,
}

/// Creates or replaces the objects that the trace reads so that they have their recorded sizes. Every rank calls this
/// function.
///
/// # Errors
/// If the trace cannot be read, or an object cannot be looked up or written.
pub(crate) async fn prepare(session: &Session, opened: &Opened, job: &Job<'_>) -> Result<(), Failure> {
    let all: Vec<usize> = (0..job.traces.len()).collect();
    let needed = rows(&job.traces, &all).and_then(|rows| job.plan.needed(rows).map_err(plan_failure));
    let needed = session.agree(needed).await?;
    let size = session.comm.place().size as usize;
    let mine = needed.iter().enumerate().filter(|(index, _)| index % size == job.rank as usize);
    let shows = ProgressReporter::new(session);
    let total = (needed.len() as u64).div_ceil(size as u64);
    let meter = shows.begin(Task::counting("Looking objects up", "objects", total));
    let looked = look(opened, mine.map(|(_, needed)| needed).inspect(|_| shows.tally.add(false)), job).await;
    drop(meter);
    let ObjectSurvey { missing, folders, other, left, example } = session.agree(looked).await?;
    let mut made = Ok(());
    for folder in &folders {
        made = made.and(opened.storage.create_folder(folder).await.map(drop));
    }
    session.agree(made.map_err(Failure::from)).await?;
    let new = (missing.len() + folders.len()) as u64;
    let counts = gather(&*session.comm, &(new, other.len() as u64, left, example)).await?;
    let needs = needs(session, missing.iter().chain(&other))?;
    space::check(session, needs.clone(), async || Ok(needs)).await?;
    let (total, total_bytes) = missing.iter().chain(&other).fold((0, 0), |sum, (_, bytes)| (sum.0 + 1, sum.1 + bytes));
    let ranks = session.comm.place().size;
    let task = Task { label: "Preparing".into(), unit: "objects", total, total_bytes, ranks, ..Task::default() };
    let meter = shows.begin(task);
    let written = write(session, opened, (job, missing.into_iter().chain(other)), &shows).await;
    drop(meter);
    session.agree(written).await?;
    let (missing, other, left) =
        counts.iter().fold((0, 0, 0), |sum, found| (sum.0 + found.0, sum.1 + found.1, sum.2 + found.2));
    let total = needed.len() as u64;
    session.log_output(&format!(
        "Prepared {total} object(s): {missing} written, {other} of another size rewritten, {} were there",
        total - missing - other
    ));
    if let Some(example) = counts.into_iter().find_map(|(.., example)| example) {
        session.log_output(&format!(
            "  {left} have another size than recorded and are left as they are, because without `--map` they are the recorded ones \
             (`--in-place`: rewrite them); the first one: {example}"
        ));
    }
    Ok(())
}

/// Returns the space that this rank's objects need if they are files.
fn needs<'a>(session: &Session, objects: impl Iterator<Item = &'a (String, u64)>) -> Result<Vec<Need>, Failure> {
    let Target::Local { root } = Target::of(&session.loaded.workload)? else { return Ok(Vec::new()) };
    let block = FileSystem::of(&root).map_or(1, |system| system.block);
    let mut need = Need {
        what: "the objects that the trace reads (--prepare)".to_owned(),
        key: "--map".to_owned(),
        folder: root,
        bytes: 0,
        inodes: 0,
        is_exact: true,
    };
    for (key, bytes) in objects {
        need.bytes = need.bytes.saturating_add(space::blocks(*bytes, block));
        need.inodes += 1;
        need.take_off(std::iter::once(key.clone()), block);
    }
    Ok(vec![need])
}

/// Looks up this rank's share of the objects.
async fn look<'a>(
    opened: &Opened,
    needed: impl Iterator<Item = (&'a String, &'a RequiredObject)>,
    job: &Job<'_>,
) -> Result<ObjectSurvey, Failure> {
    let may_change = !job.plan.options().rules.is_empty() || job.args.in_place;
    let mut looked = ObjectSurvey::default();
    let look_up = |(key, needed): (&'a String, &'a RequiredObject)| async move {
        match opened.storage.look_up(key).await {
            Ok((Some(found), _)) => Ok((key, needed, Some(found.size))),
            // A folder that was only looked up needs no change.
            Ok((None, _)) => Ok((key, needed, Some(needed.bytes))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok((key, needed, None)),
            Err(error) => Err(Failure::from(error)),
        }
    };
    // The objects are processed in order, so that the example is the same in every run.
    let found = futures::stream::iter(needed).map(look_up).buffered(LOOKING);
    let mut found = std::pin::pin!(found);
    while let Some((key, needed, found)) = found.try_next().await? {
        match found {
            None if needed.folder => looked.folders.push(key.clone()),
            Some(_) if needed.folder => {}
            None => looked.missing.push((key.clone(), needed.bytes)),
            // The part of an object of unknown size that was read exists.
            Some(found) if found == needed.bytes || (found > needed.bytes && !needed.exact) => {}
            Some(_) if may_change => looked.other.push((key.clone(), needed.bytes)),
            Some(found) => {
                looked.left += 1;
                let text = || format!("{} has {found} bytes, recorded {}", opened.storage.uri(key), needed.bytes);
                looked.example.get_or_insert_with(text);
            }
        }
    }
    Ok(looked)
}

/// Writes objects of these sizes.
async fn write(
    session: &Session,
    opened: &Opened,
    (job, objects): (&Job<'_>, impl Iterator<Item = (String, u64)>),
    shows: &ProgressReporter,
) -> Result<(), Failure> {
    let operations = (0u64..).zip(objects).map(|(number, (key, bytes))| {
        let lane = u32::try_from(number % u64::from(PREPARING)).unwrap_or(0);
        Ok(ReplayOp { number, lane, kind: ReplayKind::Write, key, bytes, ..ReplayOp::default() })
    });
    let options = ReplayOptions {
        timing: Timing::Asap,
        late: Late::CatchUp,
        inflight: PREPARING,
        lanes: PREPARING,
        lead: Duration::ZERO,
        ..job.options(session)
    };
    let rig = rig(session, opened, None, shows);
    let made = dlio_engine::replay(operations, &rig, &options).await.map_err(|error| of_engine(&error))?;
    made.first_failure.map_or(Ok(()), |failed| {
        Err(Failure::new(Code::Storage, format_args!("creating what the trace reads: {failed}")))
    })
}
