//! Names that are not options of this version: what they are called now, and which name was meant.

/// Options of earlier Moleculer versions and common slips, with today's name
/// (moleculer: docs/MIGRATION_GUIDE_0.13.md, docs/MIGRATION_GUIDE_0.14.md).
const RENAMED: [(&str, &str); 7] = [
    ("nodeId", "nodeID"),
    ("ns", "namespace"),
    ("shutdownTimeout", "tracking.shutdownTimeout"),
    ("preferLocal", "registry.preferLocal"),
    ("maxQueueSize", "transit.maxQueueSize"),
    ("disableReconnect", "transit.disableReconnect"),
    ("logFormatter", "logger"),
];

/// Options of Moleculer that this version does not offer. They are accepted when they are switched off.
const NOT_OFFERED: [&str; 37] = [
    // Awaited services are noticed when they come; nothing is asked at intervals.
    "dependencyInterval",
    "retryPolicy",
    "requestRetry",
    "contextParamsCloning",
    "circuitBreaker",
    "bulkhead",
    "uidGenerator",
    "errorHandler",
    "errorRegenerator",
    "cacher",
    "validator",
    "validation",
    "metrics",
    "metricsRate",
    "statistics",
    "tracing",
    "internalMiddlewares",
    "middlewares",
    "repl",
    "replCommand",
    "replCommands",
    "replDelimiter",
    "replOptions",
    "skipProcessEventRegistration",
    "maxSafeObjectSize",
    "ServiceFactory",
    "ContextFactory",
    "created",
    "started",
    "stopped",
    "disableBalancer",
    "registry.strategyOptions",
    "registry.discoverer",
    "transit.packetLogFilter",
    "transit.waitForInitialHeartbeat",
    "heartbeatTimeoutMultiplier",
    "serializer",
];

/// Today's name of an option that was renamed.
#[must_use]
pub fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

/// Whether Moleculer has this option and this version does not.
#[must_use]
pub fn not_offered(name: &str) -> bool {
    NOT_OFFERED.contains(&name)
}

/// The candidate that was most likely meant, when one is near enough.
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in three letters: "cal" finds "call", "x" finds nothing.
    let slips_max = given.chars().count().div_ceil(3);
    let lower = given.to_lowercase();
    candidates
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// `; did you mean 'x'?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, candidates).map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let names = ["requestTimeout", "namespace", "nodeID"];
        assert_eq!(nearest("requestTimeot", names), Some("requestTimeout"));
        assert_eq!(nearest("NodeId", names), Some("nodeID"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("x", names), None);
    }
}
