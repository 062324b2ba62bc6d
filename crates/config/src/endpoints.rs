//! Lists of endpoints: templates, files and comma-separated text. The template `http://node{1...4}:900{0...1}` names
//! eight endpoints.

/// Maximum number of endpoints that one template may name.
const MOST: u64 = 65_536;

/// Expands a template into its endpoints; the last range varies fastest. If the first number of a range begins with a
/// zero, all numbers are padded to its width: `{01...10}`. Text without braces names one endpoint.
///
/// # Errors
/// If the template is invalid; the error says why.
pub fn expand(template: &str) -> Result<Vec<String>, String> {
    let mut endpoints = vec![String::new()];
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((range, after)) = after.split_once('}') else {
            return Err(format!("expected a }} for every {{ in {template:?}"));
        };
        let (first, last, width) = bounds(range).ok_or_else(|| {
            format!("expected two numbers such as {{1...4}}, the second not smaller; found {{{range}}}")
        })?;
        let count = (last - first).saturating_add(1).saturating_mul(endpoints.len() as u64);
        if count > MOST {
            return Err(format!("expected at most {MOST} endpoints; {template:?} names {count}"));
        }
        let numbers = || (first..=last).map(|number| format!("{number:0width$}"));
        endpoints =
            endpoints.iter().flat_map(|start| numbers().map(move |end| format!("{start}{before}{end}"))).collect();
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("expected a {{ before every }} in {template:?}"));
    }
    for endpoint in &mut endpoints {
        endpoint.push_str(rest);
    }
    Ok(endpoints)
}

/// Returns the first and last number of `a...b` and the width to which numbers are padded.
fn bounds(range: &str) -> Option<(u64, u64, usize)> {
    let (first, last) = range.split_once("...")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let width = if first.starts_with('0') && first.len() > 1 { first.len() } else { 0 };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last, width))
}

/// Returns the endpoints of a file that has one endpoint per line. A `#` begins a comment.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let bare = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    bare.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Returns the endpoints of a comma-separated list.
#[must_use]
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|uri| !uri.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_numbers_from_the_first_to_the_last() {
        assert_eq!(expand("http://a:9000"), Ok(vec!["http://a:9000".to_owned()]));
        assert_eq!(expand("http://n{9...11}:1").unwrap(), ["http://n9:1", "http://n10:1", "http://n11:1"]);
        assert_eq!(expand("n{08...10}").unwrap(), ["n08", "n09", "n10"]);
        assert_eq!(expand("n{0...1}:900{0...1}").unwrap(), ["n0:9000", "n0:9001", "n1:9000", "n1:9001"]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_reason() {
        for (template, part) in [
            ("n{1...4", "a } for every {"),
            ("n1}", "a { before every }"),
            ("n{4...1}", "two numbers"),
            ("n{a...b}", "two numbers"),
            ("n{1..4}", "two numbers"),
            ("n{-1...4}", "two numbers"),
            ("{1...1000}{1...1000}", "at most 65536"),
            ("{0...18446744073709551615}", "at most 65536"),
        ] {
            let refused = expand(template);
            assert!(refused.as_ref().is_err_and(|text| text.contains(part)), "{refused:?}");
        }
    }

    #[test]
    fn a_file_has_an_endpoint_per_line() {
        assert_eq!(lines("# all\nhttp://a:1\n\n  http://b:1 # second\n"), ["http://a:1", "http://b:1"]);
        assert_eq!(list(" http://a:1, http://b:1,"), ["http://a:1", "http://b:1"]);
    }
}
