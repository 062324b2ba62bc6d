//! The memory that this process may use: that of the machine, or the limit of its control group.

use std::path::{Path, PathBuf};

use dlio_comm::Place;
use dlio_event::quantity::bytes;

use crate::quantity::Size;
use dlio_run::failure::Failure;

/// Default share of the available memory for objects.
const SHARE: f64 = 0.8;

/// Returns the memory limit of one serving process in bytes: a given size, or a share of the memory that is available to all ranks
/// of this node. `None`: the available memory is unknown.
///
/// # Errors
/// The size is larger than the machine's memory.
pub(crate) fn limit(asked: Option<Size>, place: &Place) -> Result<Option<u64>, Failure> {
    let share = match asked {
        Some(Size::Bytes(limit)) => return at_most(limit, total(Path::new("/"))).map(Some),
        Some(Size::Share(share)) => share,
        None => SHARE,
    };
    let Some(available) = available(Path::new("/")) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size is a size")]
    Ok(Some((available as f64 * share / f64::from(place.local_size.max(1))) as u64))
}

/// Returns a limit that the machine can hold; beyond it the kernel would kill a process.
fn at_most(limit: u64, total: Option<u64>) -> Result<u64, Failure> {
    match total {
        Some(total) if limit > total => Err(Failure::usage(format_args!(
            "--memory-limit {}: this machine has {}: give less, or a share such as 50%",
            bytes(limit),
            bytes(total)
        ))),
        _ => Ok(limit),
    }
}

/// Returns the memory of the machine in bytes.
fn total(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    line_of(&text, "MemTotal:")
}

/// Returns the memory that is available without swapping in bytes: the minimum over the machine and all enclosing control groups.
fn available(root: &Path) -> Option<u64> {
    let of_machine = std::fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| meminfo(&text));
    let of_groups = groups(root).into_iter().filter_map(|folder| left_of_group(&folder));
    of_machine.into_iter().chain(of_groups).min()
}

fn meminfo(text: &str) -> Option<u64> {
    line_of(text, "MemAvailable:")
}

/// Returns a value of `/proc/meminfo` in bytes.
fn line_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

/// Returns the folders of the process's memory control group and of its parents, for both versions of the interface.
fn groups(root: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let top = match controllers {
            "" => root.join("sys/fs/cgroup"),
            list if list.split(',').any(|name| name == "memory") => root.join("sys/fs/cgroup/memory"),
            _ => continue,
        };
        // In a container the path may be that of the host; the container's own group is then the root.
        let inner = top.join(path.trim_start_matches('/'));
        folders.extend(inner.ancestors().take_while(|folder| folder.starts_with(&top)).map(Path::to_path_buf));
        folders.push(top);
    }
    folders
}

/// Returns the memory that a group's limit leaves in bytes; page cache that can be dropped counts as free. `None`: there is no limit.
fn left_of_group(folder: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes")).unwrap_or(0);
    let cache = read("memory.stat").and_then(|text| {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value("total_inactive_file ").or_else(|| value("inactive_file "))
    });
    Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_group_may_leave_less_than_the_machine_has() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(available(root), None);
        write(root, "proc/meminfo", "MemTotal: 4000 kB\nMemAvailable:    3000 kB\n");
        assert_eq!(available(root), Some(3000 * 1024));
        assert_eq!(total(root), Some(4000 * 1024));
        assert_eq!(at_most(4000 * 1024, total(root)).ok(), Some(4000 * 1024));
        assert!(at_most(4000 * 1024 + 1, total(root)).is_err());
        write(root, "proc/self/cgroup", "0::/job/step\n");
        write(root, "sys/fs/cgroup/job/memory.max", "2000000\n");
        write(root, "sys/fs/cgroup/job/memory.current", "1500000\n");
        write(root, "sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 600000\n");
        write(root, "sys/fs/cgroup/job/step/memory.max", "max\n");
        assert_eq!(available(root), Some(1_100_000));
    }

    #[test]
    fn the_first_version_of_the_interface_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n");
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n");
        write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "400\n");
        assert_eq!(available(root), Some(600));
    }
}
