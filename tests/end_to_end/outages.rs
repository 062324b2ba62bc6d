//! Endpoints that fail, stay silent or return, and credentials that expire.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::{Said, Server, binary, clean, json, mpirun_command, solo_with};

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_EC2_METADATA_DISABLED", "true")];

/// A workload on S3, with its data on a server that stores them in a folder.
struct Run {
    folder: tempfile::TempDir,
    yaml: String,
}

impl Run {
    fn new(epochs: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.yaml");
        let text = format!(
            "model: {{name: t}}\nframework: pytorch\n\
             dataset: {{data_folder: 's3://bucket/set', format: npz, num_files_train: 32, record_length_bytes: 4096}}\n\
             reader: {{data_loader: pytorch, batch_size: 1, read_threads: 1}}\n\
             train: {{epochs: {epochs}, computation_time: 0.005}}\n"
        );
        std::fs::write(&path, text).unwrap();
        Self { yaml: path.to_str().unwrap().to_owned(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn out(&self) -> String {
        self.path("out").to_str().unwrap().to_owned()
    }

    fn serve(&self, address: &str) -> Child {
        let mut command = Command::new(binary());
        clean(&mut command).args(["serve", "--listen", address, "--data"]).arg(self.path("data")).envs(KEYS);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(|| std::net::TcpStream::connect(address).is_ok());
        child
    }

    fn solo(uris: &str, words: &[&str]) -> Said {
        let env: Vec<_> = KEYS.into_iter().chain([("S3_ENDPOINT_URIS", uris)]).collect();
        solo_with(&env, words)
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !done() {
        assert!(Instant::now() < deadline, "it does not come to pass");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn log_has(output: &Path, text: &str) -> bool {
    std::fs::read_to_string(output.join("dlio.log")).is_ok_and(|log| log.contains(text))
}

#[test]
fn a_server_that_is_restarted_in_mid_run_costs_time_and_no_step() {
    let run = Run::new(8);
    let address = free_address();
    let uri = format!("http://{address}");
    let server = run.serve(&address);
    Run::solo(&uri, &["-q", "generate", &run.yaml, "--output", run.path("g").to_str().unwrap()]).ok();
    let out = run.out();
    let mut command = mpirun_command(2, &["replay", &run.yaml, "--output", &out]);
    command.envs(KEYS).env("S3_ENDPOINT_URIS", &uri).stdout(Stdio::piped()).stderr(Stdio::piped());
    let replay = command.spawn().unwrap();
    until(|| log_has(Path::new(&out), "Ending epoch 2"));
    end(server);
    until(|| log_has(Path::new(&out), "has not answered for"));
    let server = run.serve(&address);
    let said = Said::from(replay.wait_with_output().unwrap()).ok();
    end(server);
    assert_eq!(said.err.matches("has not answered for").count(), 1, "one line for both ranks:\n{}", said.err);
    assert!(said.err.contains(&format!("{uri} answers again after")), "{}", said.err);
    let told = &json(&run.path("out").join("summary.json"))["s3_requests"];
    assert_eq!(told["outages"][0]["endpoint"], uri.as_str(), "{told}");
    assert!(told["outages"][0]["seconds"].as_f64().unwrap() >= 1.0 && told["retries"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn a_dead_endpoint_ends_the_run_unless_others_may_stand_in() {
    let run = Run::new(2);
    let server = Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"]);
    let (sound, dead) = (server.endpoints()[0].clone(), format!("http://{}", free_address()));
    Run::solo(&sound, &["-q", "generate", &run.yaml, "--output", run.path("g").to_str().unwrap()]).ok();
    let uris = format!("{sound},{dead}");
    let (yaml, out) = (run.yaml.as_str(), run.out());
    let words = ["replay", yaml, "--output", &out, "--no-preflight", "--retry-for", "2"];
    Run::solo(&uris, &words).failed(3, &[&dead, "given up after 2 s"]);
    let failover = "dlio_rs.on_endpoint_failure=failover";
    for more in [&["--no-preflight"][..], &[]] {
        let words = [&["replay", yaml, "--output", &out, failover][..], more].concat();
        Run::solo(&uris, &words).ok();
        let told = &json(&run.path("out").join("summary.json"))["s3_requests"];
        assert!(told["sent_to_another_endpoint"].as_u64().unwrap() >= 16, "{told}");
    }
}

#[test]
fn an_endpoint_that_accepts_and_never_answers_is_named_before_the_run() {
    let run = Run::new(1);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap());
    let out = run.out();
    let said = Run::solo(&uri, &["replay", &run.yaml, "--output", &out, "--retry-for", "4"]);
    let said = said.failed(3, &[&uri, "given up after 4 s without a byte"]);
    assert!(said.err.contains(&format!("nothing has come from {uri} for 3 s")), "{}", said.err);
}

/// Serves credentials that expire after two seconds, and counts the requests.
fn issuer() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/credentials", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let number = count.fetch_add(1, Ordering::Relaxed);
            let end = Command::new("date").args(["-u", "-d", "+2 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
            let end = String::from_utf8(end.stdout).unwrap();
            let body = format!(
                "{{\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"secret\",\"Token\":\"t{number}\",\"Expiration\":\"{}\"}}",
                end.trim()
            );
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    (uri, asked)
}

#[test]
fn credentials_that_end_are_renewed_on_every_rank() {
    let run = Run::new(24);
    let server = Server::start(1, &["--access-key", "AKID", "--secret-key", "secret"]);
    let uri = server.endpoints()[0].clone();
    Run::solo(&uri, &["-q", "generate", &run.yaml, "--output", run.path("g").to_str().unwrap()]).ok();
    let (issuer, asked) = issuer();
    let out = run.out();
    let mut command = mpirun_command(2, &["replay", &run.yaml, "--output", &out, "train.computation_time=0.01"]);
    command
        .env("S3_ENDPOINT_URIS", &uri)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &issuer)
        .env("HOME", "/nonexistent");
    let said = Said::from(command.output().unwrap()).ok();
    assert!(!said.err.contains("cannot renew"), "{}", said.err);
    // One request is for the run, one for the check of rank 1, and both ranks renew.
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked >= 4, "asked {asked} times");
}
