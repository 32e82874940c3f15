//! Event handlers: patterns with wildcards, and groups that share the work or each get their own.

use std::collections::BTreeMap;

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Mailer {
    /// How many events of each name have arrived.
    seen: BTreeMap<String, u32>,
    sent: u32,
}

#[derive(Deserialize)]
struct Settings {
    from: String,
}

#[derive(Deserialize)]
struct User {
    name: String,
}

#[service(name = "mailer", settings = { from: "mailer@example.com" })]
impl Mailer {
    /// Of all services in the group `mail`, on all nodes, one gets each event.
    #[event("user.*", group = "mail")]
    async fn on_user(&mut self, ctx: &Context, user: User) -> Result<()> {
        let Settings { from } = ctx.settings()?;
        self.sent += 1;
        ctx.logger()
            .field("event", ctx.name())
            .info(format_args!("mail from {from} to {}", user.name));
        ctx.emit("mail.sent", json!({ "to": user.name, "about": ctx.name() })).await
    }

    /// A group of its own gets every event as well, whoever else listens.
    #[event("**", group = "mail-audit")]
    fn on_any(&mut self, ctx: &Context) {
        *self.seen.entry(ctx.name()).or_default() += 1;
    }

    /// What has arrived at this instance.
    #[action]
    fn stats(&self) -> Value {
        json!({ "sent": self.sent, "seen": self.seen })
    }
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn a_user_event_sends_mail_and_is_audited() {
        let (mock, mut mailer) = (MockBroker::new(), Mailer::default());
        mock.emit(&mut mailer, "user.created", json!({ "name": "Ada" })).unwrap();
        mock.emit(&mut mailer, "post.created", json!({ "id": 1 })).unwrap();
        let stats = mock.call(&mut mailer, "mailer.stats", ()).unwrap();
        assert_eq!(stats, json!({ "sent": 1, "seen": { "post.created": 1, "user.created": 1 } }));
        assert_eq!(mock.events()[0].data, json!({ "to": "Ada", "about": "user.created" }));
        assert_eq!(mock.logs()[0].message, "mail from mailer@example.com to Ada");
    }
}
