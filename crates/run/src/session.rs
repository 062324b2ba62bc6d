//! One run on all ranks: who we are, what rank 0 resolved, the folder, the log, the trace.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dlio_comm::Communicator;
use dlio_comm::shared::Failures;
use dlio_config::{Loaded, Notice, NoticeCode, Severity};
use dlio_engine::{MonotonicClock, StallLimits};
use dlio_event::quantity::counted;
use dlio_event::{EventSink, Planned, TimeSource};
use dlio_storage::s3::S3;
use dlio_trace::{ClockAnchor, Header, TraceWriter};

use crate::backend::Opened;
use crate::closing::{Closing, Notes};
use crate::failure::{Code, Failure};
use crate::front_end::FrontEnd;
use crate::host::HostFacts;
use crate::host::counters::Sampler;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::output_folder::{self, Claim};
use crate::outputs::log::{Level, Log, Verbosity};
use crate::outputs::outages::Speaker;
use crate::outputs::recording::Recording;
use crate::outputs::{opening, outages};
use crate::ranks::Ranks;
use crate::resolve::request::Request;
use crate::resolve::source::Wanted;
use crate::resolve::{renewal, threads, unheeded};

use crate::collective::align_clocks;
pub use crate::collective::{agree, gather};
pub use crate::output_folder::Writes;
use crate::set_up::share_request;
use crate::stop;

/// What a command wants of a session.
pub struct Start<'a> {
    /// Finds the configuration; only rank 0 calls it.
    pub find: &'a dyn Fn() -> Result<Wanted, Failure>,
    /// Registry, output and so on.
    pub target: &'a Options,
    /// How much is said.
    pub verbosity: Verbosity,
    /// What goes into the output folder.
    pub writes: Writes<'a>,
}

/// A started run.
pub struct Session {
    /// The ranks.
    pub comm: Rc<dyn Communicator>,
    /// The same, for agreements.
    ranks: Rc<Ranks>,
    /// The same, for an engine that looks after its own waits.
    pub bare: Rc<dyn Communicator>,
    /// The clock.
    pub clock: Arc<MonotonicClock>,
    /// What rank 0 resolved.
    pub request: Request,
    /// The configuration.
    pub loaded: Loaded,
    /// Rank 0's log; silent elsewhere.
    pub log: Rc<Log>,
    /// Variables, observer and more, from the front end.
    pub front: Arc<FrontEnd>,
    /// When a wait is reported, and when it ends the run.
    pub limits: StallLimits,
    /// The S3 clients of this rank, for the summary.
    pub clients: RefCell<Vec<Arc<S3>>>,
    /// Lines about S3 endpoints.
    speaker: OnceCell<Arc<Speaker>>,
    /// What was done so far.
    pub outcome: RefCell<Outcome>,
    /// What to add to this rank's clock to get rank 0's, and the round trip that bounds its error, nanoseconds.
    pub clock_offset: (i64, u64),
    /// Who of this node has failed.
    failures: Option<Arc<Failures>>,
    /// Rank 0's hold on the output folder.
    output: Option<Arc<Claim>>,
}

/// What began with [`Session::begin`].
pub struct Begun {
    /// How it will end.
    pub closing: Arc<Closing>,
    /// Where events go; `None`: nowhere.
    pub events: Option<Arc<dyn EventSink>>,
    /// Folder of the traces; `None`: none are written.
    pub traces: Option<PathBuf>,
}

/// The file of the metrics.
pub const SUMMARY: &str = "summary.json";

/// Ranks that fail within this time fail of the same.
const SAME_MOMENT: Duration = Duration::from_millis(100);

impl Session {
    /// Starts the run on this rank.
    ///
    /// # Errors
    /// The same on every rank: silent on all but rank 0.
    pub async fn start(comm: Rc<Ranks>, start: Start<'_>) -> Result<Self, Failure> {
        comm.set_limits(start.target.stall_limits());
        let clock = Arc::new(MonotonicClock);
        let front = Arc::clone(comm.front());
        let (mut request, output) = share_request(&comm, &*clock, &start).await?;
        output_folder::check_shared(&comm, &request).await?;
        let renewal = renewal::start(&comm, &mut request).await?;
        let mut loaded = request.load()?;
        let sized = threads::apply(&*comm, HostFacts::read(&comm.place().host).cpu_count, &mut loaded.workload).await?;
        let rank = comm.place().rank;
        let log_file = request.output.join(&loaded.workload.output.log_file);
        let made = match (&request.wanted.hydra, rank) {
            (None, 0) => {
                make_log_folder(&log_file).and_then(|()| Log::create(&log_file, start.verbosity, &front.observer))
            }
            (Some(run), 0) => run
                .write()
                .and_then(|()| make_log_folder(&log_file))
                .and_then(|()| Log::create(&log_file, start.verbosity, &front.observer))
                .map(|log| log.at_level(run.level)),
            (_, _) => Ok(Log::silent()),
        };
        let mut log = agree(&comm, made).await?;
        if let Some(run) = &request.wanted.hydra {
            if rank > 0 {
                log = Log::append(&log_file, &front.observer).at_level(run.level);
            }
            let entered = if run.chdir { enter(&front, &run.folder) } else { Ok(()) };
            agree(&comm, entered).await?;
        }
        let log = Rc::new(log);
        let clock_offset = align_clocks(&*comm, &clock).await?;
        let failures = Failures::share(&*comm).await?.map(Arc::new);
        comm.end_at_signals();
        let (bare, ranks): (_, Rc<dyn Communicator>) = (comm.inner(), comm.clone());
        let own = log.speaker(&log_file, start.verbosity, &front.observer);
        let (clients, speaker, limits) = (RefCell::default(), OnceCell::new(), start.target.stall_limits());
        let place = comm.place();
        let outcome = Outcome {
            workload: request.wanted.name.clone(),
            ranks: place.size,
            nodes: place.nodes,
            output: request.output.clone(),
            ..Outcome::default()
        };
        let session = Self {
            comm: ranks,
            ranks: comm,
            bare,
            clock,
            request,
            loaded,
            log,
            front,
            limits,
            clients,
            speaker,
            outcome: RefCell::new(outcome),
            clock_offset,
            failures,
            output,
        };
        let speaker = Arc::new(Speaker::new(&session, own, session.clock_offset.0));
        session.speaker.get_or_init(|| speaker);
        session.say_notices();
        if let Some(text) = session.output.as_ref().and_then(|claim| claim.taken_over()) {
            session.warn(text);
        }
        if let Some(warning) = &renewal {
            session.warn(warning);
        }
        if let Some(sized) = sized {
            session.say(&sized);
        }
        Ok(session)
    }

    /// Reports what becomes of the endpoints of an opened storage, now and in the summary.
    pub fn watch(&self, opened: Opened) -> Opened {
        if let (Some(client), Some(speaker)) = (&opened.s3, self.speaker.get()) {
            outages::listen(client, speaker);
            self.clients.borrow_mut().push(Arc::clone(client));
        }
        opened
    }

    /// Whether the run was asked for as `dlio_benchmark`, whose log it then keeps line by line.
    pub fn as_reference(&self) -> bool {
        self.request.wanted.hydra.is_some()
    }

    /// Rank.
    pub fn rank(&self) -> u32 {
        self.comm.place().rank
    }

    /// A time stamp of now, as the reference writes it.
    pub fn stamp(&self) -> String {
        self.request.anchor.stamp(self.clock.now())
    }

    /// One line with a time stamp, by rank 0.
    pub fn say(&self, text: &str) {
        if self.rank() > 0 {
            return;
        }
        self.log.line(&format!("{} {text}", self.stamp()));
    }

    /// One line that the reference does not have, with a time stamp, by rank 0.
    pub fn say_own(&self, text: &str) {
        if self.as_reference() { self.inform(text) } else { self.say(text) }
    }

    /// One warning with a time stamp, by rank 0.
    pub fn warn(&self, text: &str) {
        if self.rank() > 0 {
            return;
        }
        self.log.warning(&format!("{} {text}", self.stamp()));
    }

    /// A failure that this rank has while it works, and the others do not know of, as it is reported: with the rank, where there are
    /// several. Ranks of a node that fail at about the same time, as on a full disk, report it once.
    pub async fn alone(&self, failure: &Failure) -> Failure {
        let place = self.comm.place();
        if place.size == 1 {
            return failure.clone();
        }
        let named = failure.message.contains(&format!("rank {}", place.rank));
        let who = if named { place.host.clone() } else { format!("rank {} on {}", place.rank, place.host) };
        let mut told = Failure::new(failure.code, format_args!("{who}: {failure}"));
        if let Some(failures) = &self.failures {
            failures.add();
            tokio::time::sleep(SAME_MOMENT).await;
            if !failures.tell() {
                // The one that tells ends this process; should it be gone, this one does.
                tokio::time::sleep(stop::GRACE).await;
            }
            let others: Vec<String> = failures.others().iter().map(u32::to_string).collect();
            if !others.is_empty() {
                let ranks = if others.len() == 1 { "rank" } else { "ranks" };
                told.message = format!("{} ({ranks} {} failed as well)", told.message, others.join(", "));
            }
        }
        told.of_this_rank()
    }

    /// Ends the session with the same failure on every rank if any rank has one.
    ///
    /// # Errors
    /// The failure of the lowest rank that has one; rank 0 has said it.
    pub async fn agree<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        agree(&self.ranks, result).await
    }

    /// Opens this rank's trace under `folder` of the output folder, `config_json` in its header, and prepares the end of the
    /// run. Without traces nothing is recorded.
    ///
    /// # Errors
    /// When the folder or file cannot be made, on any rank.
    pub async fn begin(&self, folder: &str, config_json: String, planned: Planned) -> Result<Begun, Failure> {
        let recording = self.trace(folder, config_json, planned).await?;
        let events = recording.as_ref().map(Recording::events);
        let traces = recording.as_ref().map(|recording| recording.folder().to_owned());
        let summary = self.request.output.join(SUMMARY);
        // What an earlier run left must not be taken for this one's result, should this one end early.
        let removed = if self.rank() == 0 && folder == "trace" { remove(&summary) } else { Ok(()) };
        self.agree(removed).await?;
        let notes = (self.rank() == 0).then(|| Notes {
            log: self.log.file(),
            // As the reference, which leaves none either: its harnesses take any summary for a result.
            summary: (folder == "trace" && !self.as_reference()).then_some(summary),
            anchor: self.request.anchor,
            clock: self.clock.clone(),
            ranks: self.comm.place().size,
        });
        let stop = self.front.stop.clone();
        let closing = Arc::new(Closing::new(recording, (self.failures.clone(), stop), notes));
        let (last, rank, front) = (Arc::clone(&closing), self.rank(), Arc::clone(&self.front));
        self.front.stop.on_signal(move |signal| {
            let closed = last.end(last.interruption(signal), None);
            if rank == 0 {
                front.report(&crate::closing::interruption(&closed, signal));
            }
        });
        Ok(Begun { closing, events, traces })
    }

    async fn trace(&self, folder: &str, config_json: String, planned: Planned) -> Result<Option<Recording>, Failure> {
        let name = if self.rank() == 0 { self.prepare_traces(folder) } else { Ok(folder.to_owned()) };
        let name = self.agree(name).await?;
        if !self.loaded.workload.dlio_rs.trace {
            return Ok(None);
        }
        let folder = self.trace_folder(&gather(&*self.comm, &name).await?.swap_remove(0));
        let path = folder.join(dlio_trace::file_name(self.rank()));
        let header = Header { planned: Some(planned), ..self.trace_header(config_json) };
        let writer = TraceWriter::create(&path, &header)
            .map_err(|error| Failure::new(Code::Trace, crate::execute::chain(&error)));
        let writer = Arc::new(self.agree(writer).await?);
        let (front, rank) = (Arc::clone(&self.front), self.rank());
        writer.on_failure(move |error| {
            let failure = Failure::new(Code::Trace, crate::execute::chain(error));
            front.observer.note(&format!("rank {rank} loses its trace, so the run ends: {failure}"));
            front.stop.end_with(failure);
        });
        let last = Arc::downgrade(&writer);
        self.front.stop.on_panic(move || last.upgrade().iter().for_each(|writer| writer.give_up()));
        let sampler = Sampler::start(self.clock.clone(), self.rank(), self.clock_offset.0);
        Ok(Some(Recording::new(writer, sampler, folder, self.rank())))
    }

    /// Makes room for the traces: what an earlier run left is replaced. As the reference, the run folder is taken as it is, and traces
    /// that this program did not write there, or that another run is writing, keep their folder; returns the name of ours.
    fn prepare_traces(&self, name: &str) -> Result<String, Failure> {
        let wants_traces = self.loaded.workload.dlio_rs.trace;
        let claim = match &self.output {
            Some(claim) => Arc::clone(claim),
            None if !wants_traces => return Ok(name.to_owned()),
            None => {
                let wish = output_folder::traces_as_reference(&self.request, self.comm.place().size);
                Claim::take_first_free(&self.trace_folder(name), &wish, &self.front.stop)?
            }
        };
        if let Some(text) = claim.replace_earlier()? {
            self.say_own(&text);
        }
        if self.output.is_none() {
            let taken = claim.folder().file_name().and_then(|taken| taken.to_str()).unwrap_or(name);
            if taken != name {
                let folder = self.trace_folder(name);
                self.warn(&format!(
                    "{} holds other traces or is in use: the trace of this run is in {taken}",
                    folder.display()
                ));
            }
            return Ok(taken.to_owned());
        }
        let folder = self.trace_folder(name);
        if wants_traces {
            std::fs::create_dir_all(&folder)
                .map_err(|error| Failure::file("creating the trace folder", &folder, &error))?;
        }
        Ok(name.to_owned())
    }

    /// Where a trace folder of this run is.
    pub fn trace_folder(&self, folder: &str) -> PathBuf {
        self.request.output.join(folder)
    }

    /// Measures this rank's clock against rank 0's once more, for the drift over the run.
    ///
    /// # Errors
    /// When the ranks cannot talk.
    pub async fn clock_now(&self) -> Result<ClockAnchor, Failure> {
        let offset = align_clocks(&*self.comm, &self.clock).await?;
        Ok(self.clock_anchor(offset))
    }

    fn clock_anchor(&self, (offset_to_rank0_ns, rtt_ns): (i64, u64)) -> ClockAnchor {
        let anchor = crate::host::wall_clock::Anchor::now(&*self.clock);
        ClockAnchor { monotonic_ns: anchor.monotonic, wall_unix_ns: anchor.unix_nanos, offset_to_rank0_ns, rtt_ns }
    }

    fn trace_header(&self, config_json: String) -> Header {
        let place = self.comm.place();
        Header {
            rank: place.rank,
            world: place.size,
            host: place.host.clone(),
            node: place.node,
            pid: std::process::id(),
            clock: self.clock_anchor(self.clock_offset),
            clock_end: None,
            argv: self.request.argv.clone(),
            config_json,
            tool_version: self.front.tool_version.clone(),
            host_facts: self.host_facts(),
            planned: None,
        }
    }

    /// What helps to judge the numbers later: processor, memory, kernel.
    fn host_facts(&self) -> std::collections::BTreeMap<String, String> {
        let host = HostFacts::read(&self.comm.place().host);
        let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
        [
            ("cpu", host.processor().to_owned()),
            ("cpu_count", host.cpu_count.to_string()),
            ("memory_bytes", host.memory_bytes.to_string()),
            ("kernel", kernel.trim().to_owned()),
        ]
        .into_iter()
        .chain(dlio_comm::Mpi::library().map(|library| ("mpi", library.to_string())))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn say_notices(&self) {
        for line in opening::lines(self) {
            self.say_own(&line);
        }
        // On the screen, but in no file: who called the reference by its name may read that line by line.
        if let Some(line) = opening::unasked(self).filter(|_| self.log.hears(Level::Warning)) {
            self.front.observer.note(&line);
        }
        for warning in
            self.request.wanted.hydra.iter().flat_map(|run| &run.warnings).chain(&self.request.report.notices())
        {
            self.warn(warning);
        }
        let (endpoints, size) = (&self.request.endpoints, self.comm.place().size);
        for warning in unheeded::warnings(&self.loaded, (endpoints, size), self.request.uses_s3()) {
            self.warn(&warning);
        }
        let ignored = self.loaded.notices.iter().filter(|notice| notice.code == NoticeCode::IgnoredKey).count();
        if ignored > 0 {
            self.say_own(&format!(
                "{} of the configuration {} no effect; -v names {}, with the reason",
                counted(ignored, "key"),
                if ignored == 1 { "has" } else { "have" },
                if ignored == 1 { "it" } else { "them" }
            ));
        }
        for line in self.request.report.render().iter().chain(&self.request.remarks) {
            self.inform(line);
        }
        for notice in &self.loaded.notices {
            self.notice(notice);
        }
    }

    /// A notice by rank 0; what the reference does as well is no warning where it is the reference that was called.
    pub fn notice(&self, notice: &Notice) {
        match notice.severity {
            Severity::Warning if !(self.as_reference() && notice.code == NoticeCode::Quirk) => self.warn(&notice.text),
            // A quirk that many healthy runs have: said, but nothing to be warned of.
            Severity::Info if !self.as_reference() && notice.code == NoticeCode::Quirk => self.say_own(&notice.text),
            _ => self.inform(&notice.text),
        }
    }

    /// One line at INFO level with a time stamp, by rank 0.
    pub fn inform(&self, text: &str) {
        if self.rank() == 0 {
            self.log.leveled(Level::Info, &format!("{} {text}", self.stamp()));
        }
    }
}

/// Makes the folder of the log file.
fn make_log_folder(log_file: &Path) -> Result<(), Failure> {
    let folder = log_file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::file("creating the folder of the log file", folder, &error))
}

fn remove(file: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file("removing what an earlier run left:", file, &error))
        }
        _ => Ok(()),
    }
}

fn enter(front: &FrontEnd, folder: &Path) -> Result<(), Failure> {
    front.observer.enter(folder).map_err(|error| Failure::file("entering the run folder", folder, &error))
}
