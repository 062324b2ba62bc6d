//! Profilers: iostat on rank 0 for `workflow.profiling`, started and stopped as in DLIO; the trace in `DFTracer`'s format
//! for `DFTRACER_ENABLE`.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dlio_config::vocabulary::Profiler as Kind;

use crate::failure::{Code, Failure};
use crate::session::Session;

/// A profiler that runs during the training loop; dropping it stops it.
pub(crate) struct Profiler {
    iostat: Option<Child>,
}

impl Profiler {
    /// Starts the profiler that the workload asks for.
    ///
    /// # Errors
    /// If the profiler is not installed or not supported.
    pub(crate) fn start(session: &Session) -> Result<Self, Failure> {
        let workload = &session.loaded.workload;
        let mut iostat = None;
        if workload.workflow.profiling {
            match workload.profiling.profiler {
                Kind::Iostat if session.rank() == 0 => iostat = Some(start_iostat(session)?),
                Kind::None | Kind::Iostat => {}
                Kind::Darshan => darshan(session)?,
                Kind::Tensorboard => {
                    return Err(Failure::usage(
                        "profiling.profiler: tensorboard profiles TensorFlow, which this program does not contain; \
                         use iostat, or the trace that every run writes (dlio-rs analyze)",
                    ));
                }
            }
            session.log_info(&format!("Profiling Started with {}", workload.profiling.profiler));
        }
        Ok(Self { iostat })
    }

    /// Stops the profiler, whose file is complete afterwards.
    ///
    /// # Errors
    /// If iostat ended before it was stopped.
    pub(crate) fn stop(mut self, session: &Session) -> Result<(), Failure> {
        if session.loaded.workload.workflow.profiling {
            session.log_info("Profiling stopped");
        }
        let Some(mut child) = self.iostat.take() else { return Ok(()) };
        let failed = |error: std::io::Error| Failure::new(Code::Unexpected, format_args!("stopping iostat: {error}"));
        if let Some(status) = child.try_wait().map_err(failed)? {
            let file = session.request.output.join("iostat.json");
            return Err(Failure::new(
                Code::Unexpected,
                format_args!("iostat ended by itself during the run ({status}); what it said is in {}", file.display()),
            ));
        }
        interrupt(&child);
        child.wait().map(drop).map_err(failed)
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        if let Some(child) = &mut self.iostat {
            interrupt(child);
            let _ = child.wait();
        }
    }
}

/// Sends SIGINT: iostat leaves its JSON incomplete after SIGTERM or SIGKILL.
#[expect(unsafe_code, reason = "the standard library can only kill")]
fn interrupt(child: &Child) {
    let Ok(pid) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: a signal to a child that has not been waited for, so its number cannot be another process's.
    let _ = unsafe { libc::kill(pid, libc::SIGINT) };
}

/// Starts iostat with one report per second as JSON: MB/s, devices, extended statistics, time stamps, CPU, without the
/// report since boot.
fn start_iostat(session: &Session) -> Result<Child, Failure> {
    let path = session.request.output.join("iostat.json");
    let failed = |error: std::io::Error| Failure::file("creating", &path, &error);
    let out = File::create(&path).map_err(failed)?;
    let errors = out.try_clone().map_err(failed)?;
    let mut command = Command::new("iostat");
    command.args(["-mdxtcy", "-o", "JSON"]).args(&session.loaded.workload.profiling.iostat_devices).arg("1");
    command.stdin(Stdio::null()).stdout(out).stderr(errors);
    // Its own process group: Ctrl-C on the terminal must not end it before its last report.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| {
        let text = if error.kind() == std::io::ErrorKind::NotFound {
            "profiling.profiler: iostat is not installed on the host of rank 0; install the package sysstat, or set \
             workflow.profiling: false"
                .to_owned()
        } else {
            format!("profiling.profiler: iostat cannot be started: {error}")
        };
        Failure::usage(text)
    })
}

/// Checks that Darshan's library is preloaded; it instruments a process from inside.
fn darshan(session: &Session) -> Result<(), Failure> {
    let loaded = session.front.environment.get("LD_PRELOAD").is_some_and(|text| text.contains("libdarshan"));
    if !loaded {
        return Err(Failure::usage(
            "Please set darshan runtime library in LD_PRELOAD (profiling.profiler: darshan): LD_PRELOAD=…/libdarshan.so, \
             with DARSHAN_LOGFILE for the place of its log",
        ));
    }
    session.log_info("Darshan records this process from its start to its end");
    Ok(())
}

/// Writes this rank's trace in `DFTracer`'s format as well.
///
/// # Errors
/// If the trace cannot be read or the file cannot be written.
pub(crate) fn export_pfw(session: &Session, traces: &Path) -> Result<(), Failure> {
    let place = session.comm.place();
    let output = &session.request.output;
    if !session.loaded.workload.dlio_rs.trace {
        session.warn("DFTRACER_ENABLE=1 has no effect with dlio_rs.trace: false");
        return Ok(());
    }
    let source = traces.join(dlio_trace::file_name(place.rank));
    let target = output.join(format!("trace-{}-of-{}.pfw.gz", place.rank, place.size));
    let trace = dlio_trace::read_file(&source).map_err(|error| Failure::new(Code::Trace, error))?;
    dlio_trace::export::pfw::write_file(&trace, &target).map_err(|error| Failure::new(Code::Trace, error))?;
    session.log_output(&format!("Profiling DLIO {}", target.display()));
    Ok(())
}
