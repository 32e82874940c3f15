//! Topics as an MQTT server knows them: with another separator between prefix, command and node ID
//! (moleculer: src/transporters/mqtt.js getTopicName). The dots within a node ID stay.

/// Changes topics from one form to the other.
pub(super) struct Topics {
    /// `MOL` or `MOL-<namespace>`.
    prefix: String,
    separator: String,
}

impl Topics {
    /// For the nodes of a namespace.
    pub(super) fn new(namespace: &str, separator: &str) -> Self {
        let prefix = if namespace.is_empty() { "MOL".into() } else { format!("MOL-{namespace}") };
        Self { prefix, separator: separator.to_owned() }
    }

    /// As the server knows it; `None` for what cannot be a topic.
    pub(super) fn for_server(&self, topic: &str) -> Option<String> {
        let (command, node) = self.split(topic, ".")?;
        let topic = self.join(command, node, &self.separator);
        // Wildcards, and what the protocol cannot write.
        (!topic.contains(['+', '#', '\0']) && topic.len() <= usize::from(u16::MAX)).then_some(topic)
    }

    /// As everybody else knows it; `None` for what is no topic of these nodes.
    pub(super) fn of_server(&self, topic: &str) -> Option<String> {
        let (command, node) = self.split(topic, &self.separator)?;
        Some(self.join(command, node, "."))
    }

    fn split<'a>(&self, topic: &'a str, separator: &str) -> Option<(&'a str, Option<&'a str>)> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix(separator)?;
        Some(match rest.split_once(separator) {
            Some((command, node)) => (command, Some(node)),
            None => (rest, None),
        })
    }

    fn join(&self, command: &str, node: Option<&str>, separator: &str) -> String {
        let prefix = &self.prefix;
        match node {
            Some(node) => format!("{prefix}{separator}{command}{separator}{node}"),
            None => format!("{prefix}{separator}{command}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_separators_change() {
        let check = |namespace: &str, separator: &str, ours: &str, servers: &str| {
            let topics = Topics::new(namespace, separator);
            assert_eq!(topics.for_server(ours).as_deref(), Some(servers));
            assert_eq!(topics.of_server(servers).as_deref(), Some(ours));
        };
        check("", ".", "MOL.INFO", "MOL.INFO");
        check("", "/", "MOL.INFO", "MOL/INFO");
        check("a.b", "/", "MOL-a.b.REQ.node.1", "MOL-a.b/REQ/node.1");
        check("a", "::", "MOL-a.REQ.node", "MOL-a::REQ::node");
    }

    #[test]
    fn wildcards_and_topics_of_others_are_refused() {
        let topics = Topics::new("a", "/");
        for bad in ["MOL.INFO", "MOL-a.REQ.#", "MOL-a.REQ.+", "MOL-ab.INFO", "x"] {
            assert_eq!(topics.for_server(bad), None, "{bad}");
        }
        for bad in ["MOL/INFO", "MOL-a.INFO", "x/y"] {
            assert_eq!(topics.of_server(bad), None, "{bad}");
        }
    }
}
