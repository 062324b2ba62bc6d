//! Files that often lie next to importable ones and have formats that cannot be imported: what they are, and how to convert them.

use std::path::Path;

/// Returns a description of the file with this beginning, and how to import its operations.
pub(super) fn advice(path: &Path, head: &[u8]) -> Option<&'static str> {
    binary(path, head).or_else(|| text(&String::from_utf8_lossy(&head[..head.len().min(4096)])))
}

fn binary(path: &Path, head: &[u8]) -> Option<&'static str> {
    /// Magic number after the version in a log of Darshan.
    const DARSHAN: [u8; 8] = 6_567_223_i64.to_le_bytes();
    /// Magic number of a record of blktrace, without its version.
    const BLKTRACE: [u8; 3] = [0x74, 0x61, 0x65];
    let ends = |extension: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    let begins = |magic: &[u8]| head.starts_with(magic);
    Some(match () {
        () if head.get(8..16) == Some(&DARSHAN) || ends("darshan") => {
            "a log of Darshan: convert it with `darshan-dxt-parser LOG > LOG.txt` and import the text; it contains operations only \
             if the program ran with DXT_ENABLE_IO_TRACE=1"
        }
        () if head.get(1..4) == Some(&BLKTRACE) => {
            "a trace of blktrace, which has device blocks instead of files: convert it with fio, `fio --name=x --read_iolog=TRACE \
             --replay_redirect=FILE --write_iolog=LOG`, and import LOG"
        }
        () if begins(b"PAR1") => {
            "a Parquet file: traces of dlio-rs need no import because analyze and replay read them"
        }
        () if begins(b"PERFILE2") => {
            "a recording of perf: convert it with `perf data convert --to-json`, or record with dftracer"
        }
        () if begins(b"PK\x03\x04") || begins(b"7z\xbc\xaf") || head.get(257..262) == Some(b"ustar") => {
            "an archive: unpack it and import its files"
        }
        () if begins(b"\xfd7zXZ") => "compressed by xz: decompress it with `xz -d`; gzip and zstd are read as they are",
        () if begins(b"BZh") => "compressed by bzip2: decompress it with `bunzip2`; gzip and zstd are read as they are",
        () if begins(b"\x04\x22\x4d\x18") => {
            "compressed by lz4: decompress it with `lz4 -d`; gzip and zstd are read as they are"
        }
        () if begins(b"SQLite format 3") => {
            "a database: export it as Chrome's trace events (nsys export --type json) if it is a profile"
        }
        () if ends("mt") || ends("cfg") && head.contains(&0) => {
            "a trace of Recorder, which has no importable text form: record with dftracer or Darshan's DXT"
        }
        () => return None,
    })
}

fn text(head: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().all(|word| head.contains(word));
    let first = head.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let is_json = first.starts_with('{');
    Some(match () {
        () if is_json
            && (has(&["\"v\"", "\"total\""]) || has(&["\"throughput_by_host\""]) || has(&["\"by_op_type\""])) =>
        {
            "statistics of warp, which contain no operations: run `warp … --full`, and import its .csv.zst"
        }
        () if is_json && has(&["\"fio version\""]) => {
            "results of fio, which contain no operations: record the operations with --write_iolog and import that log"
        }
        () if first.starts_with("ISO DATE") || has(&["operation,", "entries/s"]) || has(&["\"ISO DATE\""]) => {
            "results of elbencho, which contain no operations: record the operations with --opslog and import that file"
        }
        () if is_strace(first) => {
            "output of strace, which cannot be imported: record the calls with dftracer (LD_PRELOAD) and import its .pfw.gz"
        }
        () if is_blkparse(first) => {
            "output of blkparse, which has device blocks instead of files: `blkparse -d` makes one binary file of a trace, which fio \
             converts (--read_iolog, --replay_redirect, --write_iolog); import that log"
        }
        () if is_json && has(&["\"metric\"", "\"num_accelerators\""]) => {
            "the summary of a run of DLIO, whose traces are the *.pfw.gz files next to it"
        }
        () => return None,
    })
}

/// Whether the line is strace output, with or without process and time: `4711 12:00:00.1 openat(AT_FDCWD, "/x", O_RDONLY) = 3`.
fn is_strace(line: &str) -> bool {
    let Some((before, _)) = line.split_once('(') else { return false };
    let call = before.rsplit([' ', ']']).next().unwrap_or(before);
    let is_name =
        !call.is_empty() && call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name && (line.contains(") = ") || line.contains(")  ") || line.ends_with("<unfinished ...>"))
}

/// Whether the line is blkparse output: `8,0    3        1     0.000000000   697  G   W 223490 + 8 [kjournald]`.
fn is_blkparse(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let device = words.next().and_then(|word| word.split_once(','));
    device.is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())
        && words.next().is_some_and(|cpu| cpu.parse::<u32>().is_ok())
        && words.next().is_some_and(|sequence| sequence.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_files_are_named_with_the_way_to_convert_them() {
        let mut darshan = b"3.41\0\0\0\0".to_vec();
        darshan.extend(6_567_223_i64.to_le_bytes());
        let cases: [(&str, &[u8], &str); 11] = [
            ("log", &darshan, "darshan-dxt-parser"),
            ("app.darshan", b"3.10", "darshan-dxt-parser"),
            ("sda.blktrace.0", b"\x07tae\x01\0\0\0", "fio"),
            ("x", b"PAR1\x15", "need no import"),
            ("warp.json", b"{\"v\":1,\"commandline\":\"warp get\",\"final\":true,\"total\":{\"type\":\"\"", "--full"),
            ("fio.json", b"{\n  \"fio version\" : \"fio-3.33\",", "--write_iolog"),
            ("elbencho.csv", b"ISO DATE,LABEL,PATH TYPE,PATHS,HOSTS,THREADS\n", "--opslog"),
            ("out", b"4711  12:00:00.123456 openat(AT_FDCWD, \"/x\", O_RDONLY) = 3\n", "strace"),
            ("out", b"read(3, \"abc\", 3)                       = 3\n", "strace"),
            ("blk.txt", b"  8,0    3        1     0.000000000   697  G   W 223490 + 8 [kjournald]\n", "blkparse"),
            ("a.tar.xz", b"\xfd7zXZ\0", "xz -d"),
        ];
        for (name, head, part) in cases {
            let told = advice(Path::new(name), head).unwrap_or_default();
            assert!(told.contains(part), "{name}: {told:?}");
        }
        for head in [&b"some text (with brackets)"[..], b"", b"{\"a\":1}", b"1,2,3\n"] {
            assert_eq!(advice(Path::new("x"), head), None);
        }
    }
}
