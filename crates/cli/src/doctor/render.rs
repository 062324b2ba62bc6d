//! The report as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::verdict::{Check, Verdict};

/// The report of all checks.
#[derive(Debug)]
pub(crate) struct Report {
    /// Name of the configuration.
    pub(crate) workload: String,
    /// Origins of the settings (endpoints, credentials, launcher), and settings that were given but are not used.
    pub(crate) settings: Vec<String>,
    /// Checks of all hosts.
    pub(crate) checks: Vec<Check>,
}

impl Report {
    /// Returns the number of checks with this result.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.checks.iter().filter(|check| check.verdict.word() == word).count()
    }

    /// Returns the conclusion in one line.
    pub(crate) fn conclusion(&self) -> String {
        let (failed, unknown) = (self.count("fail"), self.count("not checked"));
        match (failed, unknown) {
            (0, 0) => "all is well: every check passed".to_owned(),
            (0, _) => format!("nothing failed; {unknown} not checked, so this is no proof that all is well"),
            (_, 0) => format!("{failed} of {} checks failed", self.checks.len()),
            _ => format!("{failed} of {} checks failed, {unknown} not checked", self.checks.len()),
        }
    }

    /// Formats the result as text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\nsettings\n", self.workload);
        for line in &self.settings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {line}");
        }
        text.push_str("\nchecks\n");
        for check in &self.checks {
            let (evidence, remedy) = parts(&check.verdict);
            let _ = writeln!(text, "  {:<11}  {} {}: {evidence}", check.verdict.word(), check.name, check.subject);
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "               to do: {remedy}");
            }
        }
        let _ = writeln!(text, "\n{}", self.conclusion());
        text
    }

    /// Formats the report as JSON; `docs/doctor.md` describes the keys.
    pub(crate) fn json(&self) -> Value {
        let check = |check: &Check| {
            let (evidence, remedy) = parts(&check.verdict);
            json!({
                "name": check.name,
                "subject": check.subject,
                "host": check.host,
                "verdict": check.verdict.word().replace(' ', "_"),
                "evidence": evidence,
                "remedy": remedy,
            })
        };
        json!({
            "workload": self.workload,
            "settings": self.settings,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "passed": self.count("pass"),
            "failed": self.count("fail"),
            "not_checked": self.count("not checked"),
            "conclusion": self.conclusion(),
        })
    }
}

/// Returns the evidence or the reason, and the remedy of a failure.
fn parts(verdict: &Verdict) -> (&str, Option<&str>) {
    match verdict {
        Verdict::Pass(evidence) => (evidence, None),
        Verdict::Fail { evidence, remedy, .. } => (evidence, Some(remedy)),
        Verdict::NotChecked(reason) => (reason, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::verdict::Checks;

    fn report(verdicts: Vec<Verdict>) -> Report {
        let mut checks = Checks::new("here");
        for verdict in verdicts {
            checks.add("space", "/mnt", verdict);
        }
        Report { workload: "my.yaml".into(), settings: vec!["dialect dlio".into()], checks: checks.list }
    }

    #[test]
    fn all_is_well_only_when_everything_was_checked() {
        assert!(report(vec![Verdict::pass("ok")]).conclusion().starts_with("all is well"));
        let unknown = report(vec![Verdict::pass("ok"), Verdict::not_checked("why")]);
        assert!(!unknown.text().contains("all is well: ") && unknown.conclusion().contains("1 not checked"));
        let failed = report(vec![Verdict::fail("seen", "do"), Verdict::pass("ok")]);
        assert_eq!(failed.conclusion(), "1 of 2 checks failed");
        assert!(failed.text().contains("fail         space /mnt: seen\n") && failed.text().contains("to do: do"));
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let json = report(vec![Verdict::fail("seen", "do"), Verdict::not_checked("why")]).json();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["checks", "conclusion", "failed", "not_checked", "passed", "settings", "workload"]);
        let check = json["checks"][0].as_object().unwrap();
        assert_eq!(check.keys().collect::<Vec<_>>(), ["evidence", "host", "name", "remedy", "subject", "verdict"]);
        assert_eq!(json["checks"][1]["verdict"], "not_checked");
        assert_eq!(json["checks"][1]["remedy"], Value::Null);
    }
}
