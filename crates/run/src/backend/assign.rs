//! The endpoints that a rank uses: one of them, or all.

use dlio_config::Workload;
use dlio_config::vocabulary::EndpointMapping;
use dlio_storage::s3;

/// The endpoints that one rank uses, and a notice about the assignment.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// Endpoints of this rank.
    pub endpoints: Vec<String>,
    /// Notice for the user; `None` if there is nothing to report.
    pub notice: Option<String>,
}

/// Assigns endpoints to `rank`: one by the configured mapping, or all of them.
#[must_use]
pub fn share(workload: &Workload, endpoints: &[String], rank: u32, size: u32) -> Share {
    let count = endpoints.len();
    let wanted = workload.storage.use_mpi_endpoint_distribution;
    let rules = workload.dlio_rs.dialect.rules();
    let one_each = rules.one_endpoint_per_rank || size as usize >= count;
    let distribute = wanted.unwrap_or(one_each);
    if count <= 1 || !distribute {
        let notice = (count > 1 && wanted.is_none()).then(|| {
            format!(
                "{count} endpoints and {size} rank(s): every rank spreads its requests over all endpoints ({})",
                workload.storage.load_balance_strategy
            )
        });
        return Share { endpoints: endpoints.to_vec(), notice };
    }
    let mapping = workload.dlio_rs.endpoint_mapping.unwrap_or(rules.endpoint_mapping);
    let assign = |rank: u32| {
        let mapping = match mapping {
            EndpointMapping::Modulo => s3::Mapping::Modulo,
            EndpointMapping::Block => s3::Mapping::Block,
        };
        s3::assign(rank, size, endpoints, mapping)
    };
    let notice = if (size as usize) < count {
        let used: Vec<usize> = (0..size).map(assign).collect();
        let unused: Vec<&str> =
            (0..count).filter(|index| !used.contains(index)).map(|index| endpoints[index].as_str()).collect();
        Some(format!(
            "{count} endpoints for {size} rank(s), one per rank ({mapping}): unused are {}",
            unused.join(", ")
        ))
    } else {
        Some(format!("{size} ranks over {count} endpoints, one per rank ({mapping})"))
    };
    Share { endpoints: vec![endpoints[assign(rank)].clone()], notice }
}
