//! The domains of AWS's services.

/// Returns the domain of AWS's services in a region.
pub(super) fn domain(region: &str) -> &'static str {
    OTHERS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain)
}

/// Returns whether a host is in a domain of AWS's services.
pub(super) fn is_of_aws(host: &str) -> bool {
    let within = |domain: &str| host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
    within("amazonaws.com") || OTHERS.iter().any(|(_, domain)| within(domain))
}

/// Prefixes of the regions whose services have another domain, with these domains.
const OTHERS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
];
