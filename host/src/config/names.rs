//! Names that are not read: options of Moleculer that have no meaning or no counterpart here, each with its
//! reason, and slips, each with the name that was meant.
//!
//! Names that options had in earlier versions of Moleculer are in `older`.

use serde_json::Value as Json;

use crate::config::value::Located;

/// Common slips, with the right name.
const SLIPS: [(&str, &str); 6] = [
    ("nodeId", "nodeID"),
    ("ns", "namespace"),
    ("shutdownTimeout", "tracking.shutdownTimeout"),
    ("preferLocal", "registry.preferLocal"),
    ("maxQueueSize", "transit.maxQueueSize"),
    ("disableReconnect", "transit.disableReconnect"),
];

/// What becomes of an option of Moleculer that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every value is fine, because it is so anyway.
    AlwaysSo,
    /// Accepted with a warning: calls and events are the same without it.
    NoEffect,
    /// Accepted only when it asks for nothing: off, or Moleculer's default.
    Refused,
}

/// An option of Moleculer that is not read.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Dotted name; all that is below it is meant, too.
    pub name: &'static str,
    /// What becomes of it.
    pub answer: Answer,
    /// Moleculer's default as JSON, when that is more than "off"; empty otherwise.
    default: &'static str,
    /// Why, and what to do instead.
    pub reason: &'static str,
}

impl Answered {
    /// Whether a value asks for nothing.
    #[must_use]
    pub fn asks_nothing(&self, value: &Located) -> bool {
        value.is_off()
            || serde_json::from_str::<Json>(self.default)
                .is_ok_and(|default| default == value.to_json())
    }
}

const fn always_so(name: &'static str, reason: &'static str) -> Answered {
    Answered { name, answer: Answer::AlwaysSo, default: "", reason }
}

const fn no_effect(name: &'static str, reason: &'static str) -> Answered {
    Answered { name, answer: Answer::NoEffect, default: "", reason }
}

const fn refused(name: &'static str, reason: &'static str) -> Answered {
    Answered { name, answer: Answer::Refused, default: "", reason }
}

/// What a Rust program does where a file cannot hold a function or class.
const EMBED: &str =
    "a function or class; a Rust program embeds the node with `ServiceBroker::builder`";

/// Options of Moleculer that a node does not read, in the order of the reference.
pub const ANSWERED: [Answered; 32] = [
    always_so("contextParamsCloning", "a guest never shares memory with its caller"),
    always_so("dependencyInterval", "awaited services are noticed when they come, without asking"),
    refused("transit.packetLogFilter", "packets are not logged one by one"),
    always_so(
        "registry.strategyOptions.cacheSize",
        "finding a shard is cheap enough without a cache",
    ),
    refused("uidGenerator", "a function; IDs are UUIDs of version 4"),
    refused("errorHandler", "a function; a middleware sees, changes and answers errors"),
    refused("errorRegenerator", "a class; errors keep all the fields that they came with"),
    always_so("metrics.collectInterval", "figures are read when somebody asks for them"),
    always_so("metrics.defaultAggregator", "it is only for reporters that are not offered"),
    no_effect("hotReload.modules", "components are watched, not modules of Node.js"),
    no_effect("hotReload.extraFiles", "components and the .toml files beside them are watched"),
    no_effect("replOptions", "there is no REPL; the verbs of `isomer` ask a running node"),
    no_effect("skipProcessEventRegistration", "`isomer start` always stops on SIGINT and SIGTERM"),
    no_effect("maxSafeObjectSize", "log lines are cut at `limits.logLine`"),
    no_effect("logger.options.moduleColors", "modules have no colours of their own"),
    no_effect("logger.options.autoPadding", "lines are not padded"),
    no_effect("logger.options.objectPrinter", "a function; values are written as JSON"),
    refused(
        "cacher.options.keygen",
        "a function; the key is made from `keys`, as Moleculer's own is",
    ),
    refused("cacher.options.missingResponse", "a miss is always nothing"),
    refused("cacher.options.redlock", "`cacher.options.lock` needs no further options"),
    no_effect(
        "registry.discoverer.options.monitor",
        "the commands that go to Redis are not logged",
    ),
    refused("registry.discoverer.options.cluster.options", "a cluster needs its nodes only"),
    no_effect("cacher.options.monitor", "the commands that go to Redis are not logged"),
    Answered {
        default: "\"JSON\"",
        ..refused("cacher.options.serializer", "values are written as JSON")
    },
    refused("cacher.options.cluster.options", "a cluster needs its nodes only"),
    no_effect("validator.options.useNewCustomCheckerFunction", "rules hold no functions"),
    refused("ServiceFactory", EMBED),
    refused("ContextFactory", EMBED),
    refused("Promise", "a class of JavaScript"),
    refused("created", EMBED),
    refused("started", EMBED),
    refused("stopped", EMBED),
];

/// The right name of a common slip.
#[must_use]
pub fn slip(name: &str) -> Option<&'static str> {
    SLIPS.iter().find(|(wrong, _)| *wrong == name).map(|(_, right)| *right)
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
