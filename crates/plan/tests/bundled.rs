//! Every bundled workload that trains has a plan, and a workload that would read nothing has a notice.

mod support;

use std::collections::BTreeMap;

use dlio_config::{Override, Source, bundled};
use dlio_plan::{Split, World, training};

#[test]
fn every_bundled_workload_that_trains_has_a_plan_and_says_when_it_reads_nothing() {
    let (mut planned, mut empty) = (Vec::new(), Vec::new());
    for name in bundled::names() {
        let yaml = bundled::yaml(name).expect("a bundled workload");
        for dialect in ["dlio", "native"] {
            let dialect = Override::parse(&format!("++workload.dlio_rs.dialect={dialect}")).expect("an override");
            let source = Source { name, yaml };
            let workload = dlio_config::load(&source, &[dialect], &BTreeMap::new(), None).expect(name).workload;
            if !workload.workflow.train {
                continue;
            }
            let plan = training(&workload, World { size: 8 }).unwrap_or_else(|error| panic!("{name}: {error}"));
            let reads = plan.lane_steps(7, Split::Train, 1, 0).next().is_some();
            let told = plan.notices().iter().any(|notice| notice.text.starts_with("NOTHING WILL BE READ for"));
            assert_eq!(reads, plan.steps(Split::Train) > 0, "{name}");
            assert_eq!(told, !reads, "{name}: {:?}", plan.notices());
            if reads { planned.push(name) } else { empty.push(name) }
        }
    }
    assert!(planned.len() > 15, "{planned:?}");
    assert!(empty.contains(&"resnet50_a100") && empty.contains(&"bert_v100"), "{empty:?}");
}
