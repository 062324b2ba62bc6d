//! The report as one HTML page that needs no network: styles, script and data are inside.

use crate::Report;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
#[must_use]
pub fn html(report: &Report) -> Vec<u8> {
    let title = report.run.model.as_deref().unwrap_or("run");
    PAGE.replace("{{title}}", &escaped(title))
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{data}}", &data(report))
        .into_bytes()
}

/// JSON inside a script element: nothing in it may end the element or begin a comment.
fn data(report: &Report) -> String {
    serde_json::to_string(report).unwrap_or_else(|_| "{}".to_owned()).replace('<', "\\u003c")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_trace_cannot_leave_their_place() {
        let mut report = Report::default();
        report.run.model = Some("</script><script>alert(1)</script>".to_owned());
        report.run.hosts = vec!["</script><img src=x>".to_owned()];
        let page = String::from_utf8(html(&report)).unwrap();
        assert_eq!(page.matches("</script>").count(), 2, "the data and the program");
        assert!(!page.contains("<img"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = String::from_utf8(html(&Report::default())).unwrap();
        let outside: Vec<&str> =
            page.split("http").skip(1).filter(|rest| !rest.starts_with("://www.w3.org/2000/svg")).collect();
        assert!(outside.is_empty() && !page.contains("src="), "{outside:?}");
    }
}
