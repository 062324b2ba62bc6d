use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::announcement::FORMAT;
use super::key_pair::CREDENTIALS;
use super::*;
use crate::process::{ProcessScope, host_name};

pub(super) fn announcement(endpoint: &str, pid: u32) -> Announcement {
    Announcement {
        format: FORMAT,
        endpoint: endpoint.into(),
        job: "j".into(),
        rank: 0,
        ranks: 1,
        of: 1,
        hosts: Vec::new(),
        pid,
        start_ticks: None,
        host: host_name(),
        boot: ProcessScope::now().boot,
        pid_namespace: ProcessScope::now().pid_namespace,
        started: 1,
        file_name: String::new(),
    }
}

fn job(id: &str, rank: u32, ranks: u32, endpoints: usize) -> Job {
    Job { id: id.into(), rank, ranks, endpoints, hosts: Vec::new(), add: false }
}

/// An id that no process has, because the kernel's limit is 2^22.
const NOBODY: u32 = i32::MAX as u32;

fn write(dir: &Path, name: &str, announcement: &Announcement) {
    fs::write(dir.join(name), serde_json::to_vec(announcement).unwrap()).unwrap();
}

fn urls(dir: &Path) -> Vec<String> {
    read(dir).unwrap().endpoints.into_iter().map(|one| one.endpoint).collect()
}

const FIRST: &str = "endpoint-00000-000.json";

#[test]
fn announcements_are_read_in_rank_order_and_leave_with_their_guard() {
    let dir = tempfile::tempdir().unwrap();
    let last = announce(dir.path(), &job("j", 10, 11, 2), 0, "http://c:1").unwrap();
    let guards: Vec<_> = [(2, 1, "http://b:2"), (2, 0, "http://b:1"), (0, 0, "http://a:1")]
        .map(|(rank, n, url)| announce(dir.path(), &job("j", rank, 11, 2), n, url).unwrap())
        .into();
    assert_eq!(urls(dir.path()), ["http://a:1", "http://b:1", "http://b:2", "http://c:1"]);
    assert_eq!(read(dir.path()).unwrap().endpoints[0].of, 22);
    drop(guards);
    assert_eq!(urls(dir.path()), ["http://c:1"]);
    drop(last);
    assert_eq!(read(dir.path()).unwrap(), Registry::default());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no draft stays");
}

#[test]
fn a_living_owner_keeps_its_entry_and_its_registry() {
    let dir = tempfile::tempdir().unwrap();
    let first = announce(dir.path(), &job("first", 0, 1, 1), 0, "http://a:1").unwrap();
    let second = job("second", 0, 1, 1);
    for refused in
        [prepare(dir.path(), &second).unwrap_err(), announce(dir.path(), &second, 0, "http://b:1").unwrap_err()]
    {
        let text = refused.to_string();
        assert!(text.contains(FIRST) && text.contains("http://a:1") && text.contains("--add"), "{text}");
    }
    let added = Job { add: true, ..second };
    assert_eq!(prepare(dir.path(), &added).unwrap(), []);
    let beside = announce(dir.path(), &added, 0, "http://b:1").unwrap();
    assert_eq!(read(dir.path()).unwrap().endpoints.len(), 2);
    drop(first);
    assert_eq!(urls(dir.path()), ["http://b:1"]);
    drop(beside);
}

#[test]
fn an_owner_that_was_replaced_does_not_remove_its_successors_entry() {
    let dir = tempfile::tempdir().unwrap();
    let first = announce(dir.path(), &job("first", 0, 1, 1), 0, "http://a:1").unwrap();
    write(dir.path(), FIRST, &announcement("http://b:1", std::process::id()));
    drop(first);
    assert_eq!(urls(dir.path()), ["http://b:1"]);
}

#[test]
fn a_dead_server_is_passed_over_and_its_file_replaced_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
    let registry = read(dir.path()).unwrap();
    assert_eq!((registry.endpoints.len(), registry.stale[0].name.as_str()), (0, FIRST));
    assert!(registry.stale[0].reason.contains(&NOBODY.to_string()), "{:?}", registry.stale);
    let next = job("next", 0, 1, 1);
    let kept = announce(dir.path(), &next, 0, "http://alive:1").unwrap();
    assert_eq!(urls(dir.path()), ["http://alive:1"]);
    drop(kept);
    write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
    assert_eq!(prepare(dir.path(), &next).unwrap()[0].name, FIRST);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn entries_of_other_versions_are_read_or_refused_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let old = format!(
        r#"{{"endpoint": "http://old:1", "pid": {}, "host": {:?}, "started": 1}}"#,
        std::process::id(),
        host_name()
    );
    fs::write(dir.path().join(FIRST), &old).unwrap();
    assert_eq!(urls(dir.path()), ["http://old:1"]);
    write(dir.path(), FIRST, &Announcement { format: 3, ..announcement("http://new:1", 1) });
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains(FIRST) && error.contains("newer"), "{error}");
}

#[test]
fn the_first_server_makes_the_key_pair_and_all_others_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let pairs: Vec<KeyPair> = std::thread::scope(|scope| {
        let servers: Vec<_> = (0..8).map(|_| scope.spawn(|| key_pair(dir.path()).unwrap())).collect();
        servers.into_iter().map(|server| server.join().unwrap()).collect()
    });
    assert!(pairs.iter().all(|pair| *pair == pairs[0]));
    assert_eq!(read(dir.path()).unwrap().credentials.as_ref(), Some(&pairs[0]));
    let mode = fs::metadata(dir.path().join(CREDENTIALS)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
}

#[test]
fn a_pair_given_by_the_user_withdraws_the_one_of_an_earlier_server() {
    let dir = tempfile::tempdir().unwrap();
    let made = key_pair(dir.path()).unwrap();
    assert!(!withdraw_other_key_pair(dir.path(), &made).unwrap());
    assert!(withdraw_other_key_pair(dir.path(), &KeyPair::generate().unwrap()).unwrap());
    assert_eq!(read(dir.path()).unwrap().credentials, None);
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn waiting_in_vain_says_once_how_many_there_are_and_at_the_end_who_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let two = Job { hosts: vec!["a".into(), "b".into()], ..job("j", 0, 2, 1) };
    let _one = announce(dir.path(), &two, 0, "http://a:1").unwrap();
    let mut said = Vec::new();
    let begin = tokio::time::Instant::now();
    let error = wait(dir.path(), MINUTE, |line| said.push((begin.elapsed(), line.to_owned()))).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 60);
    let error = error.to_string();
    assert!(error.contains("1 of 2 endpoints after 60s") && error.contains("rank 1 on b"), "{error}");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0.as_secs(), 3);
    assert!(said[0].1.contains("1 of 2 endpoints") && said[0].1.contains("rank 1 on b"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_wait_for_a_directory_that_is_not_there_yet_and_for_every_rank() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("registry");
    let starts = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let first = announce(&dir, &job("j", 0, 2, 1), 0, "http://a:1").unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        (first, announce(&dir, &job("j", 1, 2, 1), 0, "http://b:1").unwrap())
    };
    let begin = tokio::time::Instant::now();
    let (found, _guards) = tokio::join!(wait(&dir, MINUTE, |_| ()), starts);
    assert_eq!(found.unwrap().endpoints.len(), 2);
    assert_eq!(begin.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_empty_registry_and_one_of_dead_servers_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("holds no announcement") && error.contains("dlio-rs serve"), "{error}");
    let error = wait(&dir.path().join("no"), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
    write(dir.path(), FIRST, &announcement("http://dead:1", NOBODY));
    let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("left over") && error.contains(FIRST), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_announcement_is_named_and_strangers_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("README"), "hello").unwrap();
    fs::write(dir.path().join(".nfs0001"), "x").unwrap();
    let _one = announce(dir.path(), &job("j", 0, 1, 1), 0, "http://a:1").unwrap();
    assert_eq!(wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap().endpoints.len(), 1);
    fs::write(dir.path().join("endpoint-00001-000.json"), "{\"endpoint\": ").unwrap();
    let error = wait(dir.path(), Duration::ZERO, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("endpoint-00001-000.json"), "{error}");
    fs::write(dir.path().join("endpoint-00001-000.json"), "garbage").unwrap();
    let error = wait(dir.path(), MINUTE, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("endpoint-00001-000.json") && error.contains("not valid"), "{error}");
}
