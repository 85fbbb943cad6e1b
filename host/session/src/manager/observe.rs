//! What those see of the sessions who watch the host.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::Manager;
use crate::metrics::Census;

impl Manager {
    /// Shows in a registry what is counted of the sessions, and what they do at the moment when it is asked.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut Registry) {
        self.context.metrics.register(registry);
        registry.register_collector(Box::new(Watched(Arc::clone(self))));
    }

    fn census(&self) -> Census {
        let mut census = Census::default();
        for slot in self.sessions.iter() {
            match slot.get() {
                Some(handle) => census.add(&handle.listed().runtime, &handle.behind()),
                None => census.loading += 1,
            }
        }
        census
    }
}

struct Watched(Arc<Manager>);

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.census().show(self.0.context.provider.name(), &mut encoder)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Watched").field(&self.0.census()).finish()
    }
}
