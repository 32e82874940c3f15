//! The cacher of the node: its start, and what makes its entries old.
//!
//! The node listens to `cache.clean.<full name of a service>` by convention, and to `cache.clean` for
//! everything, so that no service has to. A cacher in memory may have missed such an event while the node
//! was cut off, so it is emptied whenever the transporter is connected
//! (moleculer: src/cachers/memory.js init).

use std::sync::{Arc, Weak};

use serde_json::json;

use super::{ServiceBroker, Shared};
use crate::cacher::{Cacher, Surroundings};
use crate::handler::EventHandler;
use crate::schema;
use crate::service::LocalService;

/// The events, and the part of their names before that of a service.
const CLEAN_ALL: &str = "cache.clean";
const CLEAN_SERVICE: &str = "cache.clean.";

impl ServiceBroker {
    /// Where this node keeps results (moleculer: `broker.cacher`); `None` without the option `cacher`.
    #[must_use]
    pub fn cacher(&self) -> Option<&Arc<dyn Cacher>> {
        self.0.cacher.as_ref()
    }
}

impl Shared {
    /// Starts the cacher and begins to listen for what others clean.
    pub(super) fn start_cacher(&self) -> Result<(), schema::Error> {
        let Some(cacher) = &self.cacher else { return Ok(()) };
        let this = Weak::clone(&self.this);
        cacher.start(Surroundings {
            local_event: Arc::new(move |event, data| {
                if let Some(shared) = this.upgrade() {
                    shared.local_event(event, &data);
                }
            }),
            cancel: self.cancel.clone(),
        });
        self.register(listener(cacher)?);
        Ok(())
    }

    /// The node was perhaps cut off for a while.
    pub(super) fn forget_what_may_be_old(&self) {
        let Some(cacher) = self.cacher.as_ref().filter(|cacher| cacher.node_local()) else {
            return;
        };
        let cleaned = cacher.clean(&["**".to_owned()]).wait();
        let _on = self.work.enter();
        crate::task::spawn("cacher clean", &self.cancel, async move {
            if let Err(error) = cleaned.await {
                tracing::warn!(%error, "the cacher could not be emptied");
            }
        });
    }
}

/// The service that hears what is to be cleaned.
fn listener(cacher: &Arc<dyn Cacher>) -> Result<LocalService, schema::Error> {
    let schema = json!({"name": "$cacher", "events": {
        (CLEAN_ALL): {},
        (format!("{CLEAN_SERVICE}**")): {},
    }});
    let cacher = Arc::clone(cacher);
    let clean: EventHandler = Arc::new(move |ctx| {
        // The event matcher of the memory stops at the dots of params, unless there are two stars.
        let pattern = match ctx.name.strip_prefix(CLEAN_SERVICE) {
            Some(service) => format!("{service}.**"),
            None => "**".to_owned(),
        };
        let cleaned = cacher.clean(&[pattern]).wait();
        Box::pin(async move {
            if let Err(error) = cleaned.await {
                tracing::warn!(event = &*ctx.name, %error, "the cacher could not be cleaned");
            }
            Ok(())
        })
    });
    let events = vec![(CLEAN_ALL, Arc::clone(&clean)), ("cache.clean.**", clean)];
    LocalService::native(&schema, Vec::new(), events)
}
