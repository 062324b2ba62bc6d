//! Tests of the HTML page: a single well-formed file without references to others, safe with any names in a trace,
//! small for any size of run, and drawn without errors where Chromium is installed.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

#[path = "../../../tests/skipped.rs"]
mod skipped;
mod synthetic;

use std::process::Command;

use dlio_analyze::compare::compare;
use dlio_analyze::diagnosis::{CriticalRank, EpochLoss, WaterfallEntry};
use dlio_analyze::report::{Endpoint, RankRow, TimeRow, Warning};
use dlio_analyze::{Options, Report, render, report};
use synthetic::Shape;

const HOSTILE: &str =
    "</script><script>document.documentElement.dataset.owned='1'</script><img src=x onerror=alert(1)>{{data}}";
/// Sections of a page on a training run.
const SECTIONS: [&str; 6] = ["loss", "time", "latency", "balance", "steps", "details"];
/// Plots of every page, with data or a sentence that explains their absence.
const PLOTS: [&str; 8] = [
    "Where AU was lost",
    "Accelerator utilisation",
    "Throughput",
    "Ranks over time",
    "How long operations took",
    "Percentile curves",
    "Throughput per endpoint",
    "Slowest steps",
];

fn trained() -> Report {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { ranks: 4, epochs: 2, steps: 12, samples_per_step: 4, endpoints: 2 };
    synthetic::write(folder.path(), shape).unwrap();
    report(&dlio_trace::read_dir(folder.path()).unwrap(), &Options::default()).unwrap()
}

/// Hostile names in all places where names are shown.
fn hostile() -> Report {
    let mut report = trained();
    report.run.model = Some(HOSTILE.to_owned());
    report.run.hosts = vec![HOSTILE.to_owned()];
    report.run.argv = vec![HOSTILE.to_owned()];
    report.warnings.push(Warning { code: HOSTILE.to_owned(), text: HOSTILE.to_owned() });
    report.ranks.iter_mut().for_each(|rank| HOSTILE.clone_into(&mut rank.host));
    report.hosts.iter_mut().for_each(|host| HOSTILE.clone_into(&mut host.host));
    report.endpoints.iter_mut().for_each(|endpoint| HOSTILE.clone_into(&mut endpoint.endpoint));
    report.curves.iter_mut().for_each(|curve| HOSTILE.clone_into(&mut curve.op));
    for finding in &mut report.diagnosis.findings {
        (finding.text, finding.subject) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    }
    for step in &mut report.diagnosis.slow_steps {
        (step.object, step.endpoint) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    }
    report.diagnosis.stragglers.iter_mut().for_each(|row| HOSTILE.clone_into(&mut row.name));
    report.fidelity = Some(serde_json::json!({"note": HOSTILE, "ranks": [{"rank": HOSTILE}, {"rank": 1}]}));
    report
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The page without the report inside.
fn program(page: &str) -> String {
    let (before, rest) = page.split_once("id=\"data\">").unwrap();
    let (_, after) = rest.split_once("</script>").unwrap();
    format!("{before}id=\"data\"></script>{after}")
}

fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// Checks that all tags of the page are closed; the contents of scripts and styles are not markup.
fn tags(page: &str) -> Vec<String> {
    let (mut rest, mut open, mut seen) = (page, Vec::new(), Vec::new());
    while let Some((_, tag)) = rest.split_once('<') {
        let (inside, after) = tag.split_once('>').unwrap();
        rest = after;
        let name = inside.split([' ', '\n']).next().unwrap().to_owned();
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed), "closed in another order");
            continue;
        }
        seen.push(inside.to_owned());
        if !matches!(name.as_str(), "!doctype" | "meta") {
            open.push(name.clone());
        }
        if matches!(name.as_str(), "script" | "style") {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
    }
    assert_eq!(open, Vec::<String>::new());
    seen
}

#[test]
fn the_page_is_one_well_formed_file_that_refers_to_nothing_outside() {
    let page = text(render::html(&trained()));
    // Clip paths of SVG elements must be in the page.
    let program = program(&page).replace("url(#", "");
    for outside in ["src=", "@import", "url(", "fetch(", "XMLHttpRequest", "import ", "innerHTML", "eval("] {
        assert!(!program.contains(outside), "{outside}");
    }
    let addresses = program.matches("://").count();
    assert_eq!(addresses, program.matches("http://www.w3.org/2000/svg").count(), "only the name of SVG");
    assert!(program.contains("default-src 'none'"), "the page forbids itself to load anything");
    let found = tags(&page);
    let count = |name: &str| found.iter().filter(|tag| tag.split(' ').next() == Some(name)).count();
    assert_eq!(["html", "head", "body", "main", "style", "title"].map(count), [1; 6]);
    assert_eq!(count("script"), 2, "the data and the program");
    assert!(!program.contains("{{"), "every place is filled in");
}

#[test]
fn names_from_a_trace_cannot_leave_their_place() {
    let page = text(render::html_against(&hostile(), &hostile()));
    assert_eq!(tags(&page).len(), tags(&text(render::html(&trained()))).len());
    assert!(!page.contains("<img") && page.matches("</script>").count() == 2);
    assert_eq!(data(&page)["report"]["run"]["hosts"][0], HOSTILE, "and are shown as they are");
}

#[test]
fn the_page_of_a_large_run_is_small_and_says_what_it_leaves_out() {
    let mut report = trained();
    let (rank, endpoint) = (report.ranks[0].clone(), report.endpoints[0].clone());
    let (time, loss) = (report.times[0].clone(), report.diagnosis.losses[0].clone());
    report.ranks = (0..8192).map(|number| RankRow { rank: number, ..rank.clone() }).collect();
    report.endpoints = (0..2048)
        .map(|number| Endpoint { endpoint: format!("http://10.0.0.1:{number}"), ..endpoint.clone() })
        .collect();
    let each = || (1..=200).flat_map(|epoch| (0..512).map(move |rank| (epoch, rank)));
    report.times = each().map(|(epoch, rank)| TimeRow { epoch, rank, ..time.clone() }).collect();
    report.diagnosis.losses = each().map(|(epoch, rank)| EpochLoss { epoch, rank, ..loss.clone() }).collect();
    let mut step = report.diagnosis.slow_steps[0].clone();
    step.object = "k".repeat(1024);
    report.diagnosis.slow_steps = vec![step; 20];
    report.run.hosts = (0..4096).map(|number| format!("node{number:05}")).collect();
    let page = text(render::html(&report));
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    let data = data(&page);
    assert_eq!((&data["more"]["ranks"], &data["more"]["endpoints"]), (&8064.into(), &1920.into()));
    let total = data["all_losses"]["total"].as_f64().unwrap();
    assert!((total / (loss.total as f64 / 1e9 * 200.0 * 512.0) - 1.0).abs() < 1e-6, "sums are of all rows: {total}");
    assert_eq!(data["report"]["times"], serde_json::json!([]));
}

#[test]
fn the_first_sentence_is_the_verdict() {
    let verdict = |report: &Report| data(&text(render::html(report)))["verdict"].clone();
    let mut report = trained();
    let missed = verdict(&report);
    let headline = missed["headline"].as_str().unwrap().to_owned();
    assert!(headline.starts_with("AU 7") && headline.ends_with("misses the target of 90 %"), "{headline}");
    let sentences = missed["sentences"].to_string();
    assert!(missed["tone"] == "bad" && sentences.contains("% of AU was lost"), "{missed}");
    report.diagnosis.waterfall =
        vec![WaterfallEntry { part: "barrier".to_owned(), percentage: 20.0, au_without: 95.0, seconds: 9.0 }];
    report.diagnosis.critical_ranks =
        vec![CriticalRank { seconds: 9.0, waiting_percentage: 90.0, ..CriticalRank::default() }];
    let behind =
        "Without waits for other ranks AU would be 95.0 %. The ranks that arrived last waited for their data: 90 %";
    assert!(verdict(&report)["sentences"].to_string().contains(behind), "{}", verdict(&report));
    report.comparison = compare(&report.diagnosis.samples, &report.diagnosis.samples);
    assert!(verdict(&report)["sentences"].to_string().contains("No metric differs significantly from the base."));
    report.train.as_mut().unwrap().au_meets_expectation = Some(true);
    assert_eq!(verdict(&report)["tone"], "good");
    report.train = None;
    assert!(verdict(&report)["headline"].as_str().unwrap().contains("checkpoints saved in"), "{}", verdict(&report));
    report.checkpoints.clear();
    assert!(verdict(&report)["headline"].as_str().unwrap().contains("storage operations in"));
    assert_eq!(verdict(&Report::default())["headline"], "The traces contain no events");
}

/// Returns the page as drawn by Chromium; `None` without Chromium.
fn drawn(page: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    // Zooms into every plot and reads it with the keyboard; exceptions count as errors. Animation frames are run at
    // once, because a browser without a display may omit them. Then two fingers spread on each plot, and one finger
    // moves the zoomed part; synthetic pointer events cannot be captured.
    let exercise = "<script>requestAnimationFrame = (work) => setTimeout(work, 5);
        addEventListener('error', () => { document.documentElement.dataset.thrown = '1'; });
        const all = (selector) => [...document.querySelectorAll(selector)], left = document.documentElement.dataset;
        const press = (plot, ...keys) => keys.forEach((key) => plot.dispatchEvent(new KeyboardEvent('keydown', { key })));
        Element.prototype.setPointerCapture = () => {};
        const touch = (plot, type, pointerId, part) => {
          const place = plot.getBoundingClientRect(), at = { clientX: place.left + place.width * part, clientY: place.top + place.height / 2 };
          plot.dispatchEvent(new PointerEvent(type, { pointerId, pointerType: 'touch', cancelable: true, ...at }));
        };
        all('svg.plot').forEach((plot) => press(plot, '+', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'End', '-', '+'));
        const later = (what) => new Promise((done) => setTimeout(() => { what(); done(); }, 300));
        const drawing = () => all('svg.plot').map((plot) => plot.innerHTML);
        (async () => {
          await later(() => { left.zoomed = all('svg.plot.zoomed').length; left.images = all('img').length; });
          await later(() => all('svg.plot').forEach((plot) => press(plot, '0')));
          await later(() => { left.reset = all('svg.plot.zoomed').length; });
          await later(() => all('svg.plot').forEach((plot) => {
            touch(plot, 'pointerdown', 1, 0.45); touch(plot, 'pointerdown', 2, 0.55);
            touch(plot, 'pointermove', 1, 0.3); touch(plot, 'pointermove', 2, 0.7);
            touch(plot, 'pointerup', 1, 0.3); touch(plot, 'pointerup', 2, 0.7);
          }));
          let before;
          await later(() => { left.spread = all('svg.plot.zoomed').length; before = drawing(); });
          await later(() => all('svg.plot').forEach((plot) => {
            touch(plot, 'pointerdown', 3, 0.6); touch(plot, 'pointermove', 3, 0.5); touch(plot, 'pointerup', 3, 0.5);
          }));
          await later(() => { left.moved = drawing().filter((now, at) => now !== before[at]).length; });
          const wide = () => all('svg.plot').map((plot) => plot.viewBox.baseVal.width);
          await later(() => {
            const screen = wide();
            dispatchEvent(new Event('beforeprint'));
            left.paper = wide().filter((width) => width > 600 && width < 700).length;
            left.outside = all('svg.plot').filter((plot) => plot.getBoundingClientRect().right > 700).length;
            dispatchEvent(new Event('afterprint'));
            left.screen = wide().filter((width, at) => width === screen[at]).length;
          });
        })();
        </script></body>";
    std::fs::write(&file, page.replace("</body>", exercise)).unwrap();
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
    let more =
        ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=6000", "--dump-dom"];
    let run = |name: &str| {
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        Command::new(name).args(flags).arg(profile).args(more).arg(format!("file://{}", file.display())).output().ok()
    };
    let output = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(run)?;
    Some(text(output.stdout))
}

/// Returns a number that the page has set on its root element.
fn left(dom: &str, name: &str) -> Option<u32> {
    let (_, rest) = dom.split_once("<html")?.1.split_once('>')?.0.split_once(&format!("data-{name}=\""))?;
    rest.split('"').next()?.parse().ok()
}

#[test]
fn a_browser_draws_every_plot_and_zooms_into_it_without_an_error() {
    let mut compared = hostile();
    compared.comparison = compare(&compared.diagnosis.samples, &compared.diagnosis.samples);
    let pages = [
        ("training", render::html(&trained()), 18),
        ("hostile names against a base", render::html_against(&compared, &compared), 19),
        ("nothing", render::html(&Report::default()), 0),
    ];
    for (name, page, plots) in pages {
        let Some(dom) = drawn(&text(page)) else {
            skipped::report("a_browser_draws_every_plot_and_zooms_into_it_without_an_error: Chromium is not installed");
            return;
        };
        let number = |what: &str| left(&dom, what).unwrap_or_else(|| panic!("{name}: no {what} in {dom:.2000}"));
        assert_eq!(number("errors"), 0, "{name}");
        assert!(number("drawn") >= plots, "{name}: {} plots", number("drawn"));
        // In print all tables have the full width; afterwards they are as before.
        for gesture in ["zoomed", "spread", "moved", "paper", "screen"] {
            assert_eq!(number(gesture), number("drawn"), "{name}: {gesture}");
        }
        assert_eq!((number("reset"), number("outside")), (0, 0), "{name}");
        assert_eq!((left(&dom, "thrown"), left(&dom, "owned")), (None, None), "{name}");
        assert_eq!(number("images"), 0, "{name}");
        for plot in PLOTS {
            assert!(dom.contains(&format!("<h3>{plot}</h3>")), "{name}: {plot}");
        }
        for section in SECTIONS.iter().filter(|section| plots > 0 || **section != "details") {
            assert!(dom.contains(&format!("<h2 id=\"{section}\">")), "{name}: {section}");
        }
    }
}
