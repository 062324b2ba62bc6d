//! `credential_process`: a command that prints credentials. It runs without a shell, as in the AWS CLI.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dlio_event::Secret;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::config_file::words;
use super::expiry::expiring;
use crate::s3::credentials::{Credentials, Temporary};

/// Longest wait for the command, which may ask a person for a code.
const LIMIT: Duration = Duration::from_mins(2);
/// Most bytes read from each of its outputs.
const MOST: u64 = 1 << 20;

/// The JSON that the command prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: Option<u64>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// The end of a command: its status and output.
struct Ended {
    success: bool,
    how: String,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Runs the command and parses its output.
///
/// # Errors
/// When the command cannot be run, fails, or prints something else.
pub(super) async fn credentials(command: &str) -> Result<Temporary, String> {
    let named = |why: String| format!("the command {command:?} {why}");
    let words = words(command).map_err(|why| named(format!("cannot be split into words: {why}")))?;
    let Some((program, arguments)) = words.split_first() else { return Err("the command is empty".to_owned()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| named(format!("cannot be run: {program}: {error} (it is run without a shell)")))?;
    let outputs = (child.stdout.take(), child.stderr.take());
    let ended = wait(child, outputs).await.map_err(named)?;
    let said = String::from_utf8_lossy(&ended.err).trim().to_owned();
    let said = if said.is_empty() { said } else { format!("; it says: {said}") };
    if !ended.success {
        return Err(named(format!("failed ({}){said}", ended.how)));
    }
    read(&ended.out).map_err(|why| named(format!("{why}{said}")))
}

/// Waits for the command on separate threads, because the C library's calls block, and kills it when its time is
/// over.
async fn wait<O, E>(mut child: Child, (out, err): (Option<O>, Option<E>)) -> Result<Ended, String>
where
    O: Read + Send + 'static,
    E: Read + Send + 'static,
{
    let (out, err) = (collect(out), collect(err));
    let printed = tokio::time::timeout(LIMIT, async { (out.await, err.await) }).await;
    let Ok((out, err)) = printed else {
        // A command that has ended meanwhile cannot be killed, which is no failure.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("did not end within {LIMIT:?} and was killed"));
    };
    let (sender, ended) = oneshot::channel();
    let waiter = move || drop(sender.send(child.wait()));
    thread(waiter)?;
    let lost = || "was lost".to_owned();
    let status = tokio::time::timeout(LIMIT, ended).await.map_err(|_| lost())?.map_err(|_| lost())?;
    let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
    let (out, err) = (out.unwrap_or_default(), err.unwrap_or_default());
    Ok(Ended { success: status.success(), how: status.to_string(), out, err })
}

fn thread(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = std::thread::Builder::new().name("credentials".to_owned()).spawn(work);
    started.map(drop).map_err(|error| format!("needs a thread to be waited for: {error}"))
}

/// Reads a pipe until its end.
async fn collect(pipe: Option<impl Read + Send + 'static>) -> Result<Vec<u8>, String> {
    let Some(pipe) = pipe else { return Ok(Vec::new()) };
    let (sender, bytes) = oneshot::channel();
    thread(move || {
        let mut found = Vec::new();
        // Bytes read before an error are still worth showing.
        let _ = pipe.take(MOST).read_to_end(&mut found);
        drop(sender.send(found));
    })?;
    bytes.await.map_err(|error| error.to_string())
}

fn read(out: &[u8]) -> Result<Temporary, String> {
    let printed: Printed =
        serde_json::from_slice(out).map_err(|error| format!("printed no JSON that can be read ({error})"))?;
    match printed.version {
        Some(1) => {}
        Some(other) => return Err(format!("printed Version {other}; expected 1")),
        None => return Err("printed no Version; expected 1".to_owned()),
    }
    let Printed { access_key_id, secret_access_key, session_token, expiration, .. } = printed;
    let missing = |name: &str| format!("printed no {name}");
    let credentials = Credentials {
        access_key_id: access_key_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("AccessKeyId"))?,
        secret_access_key: Secret::new(
            secret_access_key.filter(|key| !key.is_empty()).ok_or_else(|| missing("SecretAccessKey"))?,
        ),
        session_token: session_token.filter(|token| !token.is_empty()).map(Secret::new),
    };
    expiring(credentials, expiration.as_deref()).map_err(|why| format!("printed {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::chain::run;

    const KEYS: &str = r#""AccessKeyId": "AKID", "SecretAccessKey": "s""#;

    #[test]
    fn what_the_command_prints_is_read_and_its_quotes_are_kept_together() {
        let printed = format!(r#"{{"Version": 1, {KEYS}, "SessionToken": "t", "Expiration": "2096-11-29T17:00:07Z"}}"#);
        let found = run(credentials(&format!("printf %s '{printed}'"))).unwrap();
        assert_eq!(found.credentials.access_key_id, "AKID");
        assert_eq!(found.credentials.session_token, Some(Secret::new("t")));
        assert_eq!(found.ends, Some(Duration::from_secs(4_005_046_807)));
        let plain = run(credentials(&format!("printf %s '{{\"Version\": 1, {KEYS}}}'"))).unwrap();
        assert_eq!((plain.ends, plain.credentials.session_token), (None, None));
    }

    #[test]
    fn no_shell_sees_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let wrong = run(credentials(&format!("true ; touch {}", mark.display()))).unwrap_err();
        assert!(!mark.exists() && wrong.contains("printed no JSON"), "{wrong}");
    }

    #[test]
    fn a_command_that_fails_is_named_with_what_it_says() {
        let wrong = run(credentials("sh -c 'echo no ticket >&2; exit 3'")).unwrap_err();
        assert!(wrong.starts_with("the command \"sh -c"), "{wrong}");
        assert!(wrong.contains("exit status: 3") && wrong.ends_with("it says: no ticket"), "{wrong}");
        assert!(run(credentials("/nowhere/tool --x")).unwrap_err().contains("/nowhere/tool: No such file"));
        assert!(run(credentials("tool 'x")).unwrap_err().contains("not closed"));
        assert!(run(credentials("echo {\\\"Version\\\": 2}")).unwrap_err().contains("Version 2; expected 1"));
        assert!(run(credentials("echo {\\\"Version\\\": 1}")).unwrap_err().contains("no AccessKeyId"));
    }
}
